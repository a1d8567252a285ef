"""Every inner value of transformers' LeViT under our names: forward hooks, and a look at the operations of attention.

What is the output or the input of a module is taken by forward hooks. Inside of its attention there are no modules,
so the operations themselves are overheard: ``query @ key``, ``* scale``, ``+ bias``, ``softmax``, ``@ value``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode
from transformers import LevitForImageClassificationWithTeacher
from transformers.models.levit.modeling_levit import LevitResidualLayer

from levit_ref.nn import LeViT

Layout = Callable[[torch.Tensor], torch.Tensor]


class Captured(NamedTuple):
    """A tensor of the oracle, and how it has to be laid out to be ours. Its gradient is laid out alike."""

    tensor: torch.Tensor
    layout: Layout

    def numpy(self) -> npt.NDArray[Any]:
        return self.layout(self.tensor).detach().numpy()


def gradients_of_inner_values(values: Mapping[str, Captured], of: torch.Tensor) -> dict[str, npt.NDArray[Any]]:
    """Gradients of a number with respect to all inner values, by autograd."""
    gradients = torch.autograd.grad(of, [captured.tensor for captured in values.values()])
    pairs = zip(values.items(), gradients, strict=True)
    return {name: captured.layout(gradient).numpy() for (name, captured), gradient in pairs}


def inner_values(
    oracle: LevitForImageClassificationWithTeacher, model: LeViT, images: npt.NDArray[Any]
) -> Mapping[str, Captured]:
    """Run the oracle and return its inner values, under the names of ``model.activation_specs()``."""
    values: dict[str, Captured] = {}
    hooks = _Hooks(values, len(images))
    with hooks:
        _stem(hooks, oracle)
        _stages(hooks, oracle)
        hooks.take("pooled", oracle.classifier, entering=True)
        for name, head in ("head", oracle.classifier), ("head_dist", oracle.classifier_distill):
            hooks.take(f"{name}.bn", head.batch_norm)
            hooks.take(f"{name}.linear", head.linear)
            hooks.take(name, head)
        pixels = torch.from_numpy(images).requires_grad_()
        values["images"] = Captured(pixels, _as_it_is)
        values["logits"] = Captured(oracle(pixels).logits, _as_it_is)
    return values


def _stem(hooks: _Hooks, oracle: LevitForImageClassificationWithTeacher) -> None:
    stem = oracle.levit.patch_embeddings
    for i in range(1, 5):
        layer = getattr(stem, f"embedding_layer_{i}")
        hooks.take(f"stem.conv{i}.linear", layer.convolution)
        hooks.take(f"stem.conv{i}.bn", layer.batch_norm)
        if i < 4:
            hooks.take(f"stem.act{i}", getattr(stem, f"activation_layer_{i}"))
    hooks.take("stem.tokens", stem)


def _stages(hooks: _Hooks, oracle: LevitForImageClassificationWithTeacher) -> None:
    for i, stage in enumerate(oracle.levit.encoder.stages):
        layers = list(stage.layers)
        block = 0
        while layers:
            attention, mlp = layers.pop(0), layers.pop(0)
            if isinstance(attention, LevitResidualLayer):
                name = f"stages.{i}.blocks.{block}"
                block += 1
                _attention(hooks, f"{name}.attn", attention.module)
                hooks.take(f"{name}.attn", attention.module)
            else:  # transformers has the shrinking attention at the end of a stage, we at the start of the next
                name = f"stages.{i + 1}.downsample"
                _attention(hooks, f"{name}.attn_downsample", attention)
            hooks.take(f"{name}.resid_pre", attention, entering=True)
            hooks.take(f"{name}.resid_mid", attention)
            _linear_norm(hooks, f"{name}.mlp.ln1", mlp.module.linear_up)
            hooks.take(f"{name}.mlp.act", mlp.module.activation)
            _linear_norm(hooks, f"{name}.mlp.ln2", mlp.module.linear_down)
            hooks.take(f"{name}.mlp", mlp.module)
            hooks.take(f"{name}.resid_post", mlp)


def _attention(hooks: _Hooks, name: str, attention: Any) -> None:
    if hasattr(attention, "queries_keys_values"):
        _linear_norm(hooks, f"{name}.qkv", attention.queries_keys_values)
    else:
        _linear_norm(hooks, f"{name}.kv", attention.keys_values)
        hooks.take(f"{name}.q.down", attention.queries_subsample)
        _linear_norm(hooks, f"{name}.q.ln", attention.queries)
    hooks.overhear(name, attention)
    hooks.take(f"{name}.proj.act", attention.activation)
    _linear_norm(hooks, f"{name}.proj.ln", attention.projection)


def _linear_norm(hooks: _Hooks, name: str, layer: Any) -> None:
    hooks.take(f"{name}.linear", layer.linear)
    hooks.take(f"{name}.bn", layer.batch_norm, lambda x: x.reshape(hooks.batch_size, -1, x.shape[-1]))


def _as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x


class _Hooks(ExitStack):
    """Forward hooks that are gone at the end of the ``with`` block."""

    def __init__(self, values: dict[str, Captured], batch_size: int) -> None:
        super().__init__()
        self.values, self.batch_size = values, batch_size

    def take(self, name: str, module: torch.nn.Module, layout: Layout = _as_it_is, *, entering: bool = False) -> None:
        """Keep what comes out of a module, or enters it."""

        def hook(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            self.values[name] = Captured(inputs[0] if entering else output, layout)

        self.callback(module.register_forward_hook(hook).remove)

    def overhear(self, name: str, attention: torch.nn.Module) -> None:
        """Keep what the operations in an attention work on."""
        forward = attention.forward

        def overheard(hidden_state: torch.Tensor) -> torch.Tensor:
            with _overheard_operations() as operations:
                result = forward(hidden_state)
            product, scaling, addition, softmax, mean = operations
            assert [o.name for o in operations] == ["matmul", "mul", "add", "softmax", "matmul"]
            own = {
                "q": (product.inputs[0], _as_it_is),
                "k": (product.inputs[1], lambda x: x.transpose(-2, -1)),
                "scores": (scaling.output, _as_it_is),
                "bias": (addition.inputs[1], _as_it_is),
                "scores_biased": (addition.output, _as_it_is),
                "probs": (softmax.output, _as_it_is),
                "v": (mean.inputs[1], _as_it_is),
                "context": (mean.output, _as_it_is),
            }
            self.values.update({f"{name}.{key}": Captured(*value) for key, value in own.items()})
            return result

        attention.forward = overheard
        self.callback(delattr, attention, "forward")


class _Operation(NamedTuple):
    name: str
    inputs: tuple[Any, ...]
    output: torch.Tensor


@contextmanager
def _overheard_operations() -> Iterator[list[_Operation]]:
    """The arithmetic operators and softmaxes on tensors inside of the ``with`` block, in order."""
    operations: list[_Operation] = []

    class Listener(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
            output = func(*args, **(kwargs or {}))
            name = func.__name__
            if name.endswith("__"):  # an operator; "add_" is in place
                name = name.strip("_")
            if name in ("matmul", "mul", "add", "softmax"):
                operations.append(_Operation(name, args, output))
            return output

    with Listener():
        yield operations
