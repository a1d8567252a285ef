"""What a network costs, component by component: parameters and multiply-adds, counted as the official code counts.

That count (the paper's FLOPs) has convolutions, linear layers, the products of attention, and one operation for every
entry of a softmax; normalisations, activations and biases are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from levit_ref.nn.attention import Attention, AttentionDownsample, BiasedAttention
from levit_ref.nn.levit import LeViT
from levit_ref.nn.mlp import Mlp
from levit_ref.nn.module import Module
from levit_ref.nn.pairs import ConvNorm, NormLinear


@dataclass(frozen=True)
class Cost:
    """One component's row in the ledger."""

    name: str
    output_shape: tuple[int, ...]
    """For one image: (C, H, W) or (N, C) or (classes,)."""
    parameters: int
    macs: int
    """Multiply-adds for one image."""


def component_costs(model: LeViT) -> list[Cost]:
    """Cost of every component of ``model`` in the order of execution; the sums are the model's.

    Parameters
    ----------
    model : LeViT

    Returns
    -------
    costs : list of Cost
        Convolutions of the stem, attentions and MLPs of the stages, heads.
    """
    costs = []
    for (name, layer), grid in zip(model.stem.children(), model.stem.grids[1:], strict=True):
        if isinstance(layer, ConvNorm):
            conv = layer.linear
            C_out, C_in, kH, kW = conv.weight.shape
            macs = C_in * C_out * kH * kW * grid.tokens
            costs.append(Cost(f"stem.{name}", (C_out, *grid.shape), count_parameters(layer), macs))
    if model.pos_embed is not None:
        costs.append(Cost("pos_embed", model.pos_embed.shape[1:], model.pos_embed.size, 0))
    for i, stage in enumerate(model.stages):
        N = stage.grid.tokens
        parts: list[tuple[str, Module]] = []
        if stage.downsample is not None:
            parts += [(f"downsample.{name}", m) for name, m in stage.downsample.children()]
        for j, block in enumerate(stage.blocks):
            parts += [(f"blocks.{j}.{name}", m) for name, m in block.children()]
        for name, module in parts:
            if isinstance(module, Mlp):
                macs, C = _mlp_macs(module, N), module.ln2.linear.weight.shape[0]
            elif isinstance(module, (Attention, AttentionDownsample)):
                macs, C = _attention_macs(module), module.proj.ln.linear.weight.shape[0]
            else:
                continue
            costs.append(Cost(f"stages.{i}.{name}", (N, C), count_parameters(module), macs))
    for name in "head", "head_dist":
        head: NormLinear | None = getattr(model, name)
        if head is not None:
            costs.append(Cost(name, (model.num_classes,), count_parameters(head), head.linear.weight.size))
    return costs


def count_parameters(module: Module) -> int:
    """Number of trainable numbers in ``module``."""
    return sum(p.size for _, p in module.named_parameters())


def count_macs(model: LeViT) -> int:
    """Multiply-adds of ``model`` for one image."""
    return sum(cost.macs for cost in component_costs(model))


def _mlp_macs(mlp: Mlp, tokens: int) -> int:
    return tokens * (mlp.ln1.linear.weight.size + mlp.ln2.linear.weight.size)


def _attention_macs(attention: BiasedAttention) -> int:
    N_q, N_k = attention.attention_bias_index.shape
    if isinstance(attention, AttentionDownsample):
        products = N_k * attention.kv.linear.weight.size + N_q * attention.q.ln.linear.weight.size
    elif isinstance(attention, Attention):
        products = N_k * attention.qkv.linear.weight.size
    else:
        raise TypeError(f"no cost is known for {type(attention).__name__}")
    products += N_q * attention.proj.ln.linear.weight.size
    pairs = attention.num_heads * N_q * N_k
    return products + pairs * (attention.key_dim + 1 + attention.value_dim)  # QK, softmax, AV
