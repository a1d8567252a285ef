"""How the same LeViT is named in three public implementations, as one table.

==========  ==========================================  ============================================================
scheme      from                                        example
==========  ==========================================  ============================================================
``timm``    timm, and this package                      ``stages.0.blocks.0.attn.qkv.linear.weight``
``fb``      facebookresearch/LeViT, the official code   ``blocks.0.m.qkv.c.weight``
``hf``      transformers                                ``levit.encoder.stages.0.layers.0.module.``
                                                        ``queries_keys_values.linear.weight``
==========  ==========================================  ============================================================

The official code counts all branches in one list: attention and MLP of each block, and between two stages the
shrinking attention, which has no residual and so no ``.m``, and its MLP. transformers counts within a stage, and has
the shrinking attention at the end of the stage that it leaves; timm has it at the start of the stage it leads into.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from levit_ref.nn import LeViTConfig

SCHEMES = ("timm", "fb", "hf")


class Names(NamedTuple):
    """One name in the three schemes."""

    timm: str
    fb: str
    hf: str

    def join(self, other: Names) -> Names:
        """Each name, a dot, and the other's name of the same scheme."""
        return Names(*(f"{a}.{b}" for a, b in zip(self, other, strict=True)))


NORM = [
    Names(f"bn.{leaf}", f"bn.{leaf}", f"batch_norm.{leaf}")
    for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
]
CONV_NORM = [Names("linear.weight", "c.weight", "convolution.weight"), *NORM]
LINEAR_NORM = [Names("linear.weight", "c.weight", "linear.weight"), *NORM]
HEAD = [*NORM, *(Names(f"linear.{leaf}", f"l.{leaf}", f"linear.{leaf}") for leaf in ("weight", "bias"))]
"""Arrays within a convolution or linear layer with its norm, and within a head (norm, then linear layer)."""

ATTENTION = [Names("qkv", "qkv", "queries_keys_values"), Names("proj.ln", "proj.1", "projection")]
SHRINKING = [
    Names("kv", "kv", "keys_values"),
    Names("q.ln", "q.1", "queries"),
    Names("proj.ln", "proj.1", "projection"),
]
MLP = [Names("ln1", "0", "linear_up"), Names("ln2", "2", "linear_down")]
BIASES = Names("attention_biases", "attention_biases", "attention_biases")
"""Linear layers within a branch, and the table of position biases of an attention."""


def all_names(config: LeViTConfig) -> list[Names]:
    """Every array of a model in the three schemes, in the order of this package.

    Raises
    ------
    ValueError
        For an ablation that the other implementations cannot express: layer normalisation, position embeddings.
    """
    if config.norm != "batch" or config.position != "attention_bias":
        raise ValueError(
            f"{config.name} has norm={config.norm!r} and position={config.position!r}; "
            f"the official code and transformers have names for batch normalisation and attention biases only"
        )
    return list(_names(config))


def _names(config: LeViTConfig) -> Iterator[Names]:
    for i in range(len(config.stem)):
        conv = Names(f"stem.conv{i + 1}", f"patch_embed.{2 * i}", f"levit.patch_embeddings.embedding_layer_{i + 1}")
        yield from map(conv.join, CONV_NORM)
    branch = 0  # index in the official code's one list
    for stage, depth in enumerate(config.depths):
        if stage > 0:
            ours, left = f"stages.{stage}.downsample", f"levit.encoder.stages.{stage - 1}.layers"
            layer = 2 * config.depths[stage - 1]
            attention = Names(f"{ours}.attn_downsample", f"blocks.{branch}", f"{left}.{layer}")
            yield from _attention(attention, SHRINKING)
            mlp = Names(f"{ours}.mlp", f"blocks.{branch + 1}.m", f"{left}.{layer + 1}.module")
            yield from _layers(mlp, MLP)
            branch += 2
        for block in range(depth):
            ours, layers = f"stages.{stage}.blocks.{block}", f"levit.encoder.stages.{stage}.layers"
            attention = Names(f"{ours}.attn", f"blocks.{branch}.m", f"{layers}.{2 * block}.module")
            yield from _attention(attention, ATTENTION)
            mlp = Names(f"{ours}.mlp", f"blocks.{branch + 1}.m", f"{layers}.{2 * block + 1}.module")
            yield from _layers(mlp, MLP)
            branch += 2
    yield from map(Names("head", "head", "classifier").join, HEAD)
    if config.distillation:
        yield from map(Names("head_dist", "head_dist", "classifier_distill").join, HEAD)


def _attention(prefix: Names, layers: list[Names]) -> Iterator[Names]:
    yield prefix.join(BIASES)
    yield from _layers(prefix, layers)


def _layers(prefix: Names, layers: list[Names]) -> Iterator[Names]:
    for layer in layers:
        yield from map(prefix.join(layer).join, LINEAR_NORM)
