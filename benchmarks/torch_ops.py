"""The operations in PyTorch, as a user would write them, for timing beside ours.

Each takes the tensors that ours takes as arrays, in the same memory layout, and the same options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recording import Case  # isort: skip


def _activated(x: Tensor, activation: str) -> Tensor:
    return x if activation == "identity" else getattr(F, activation)(x)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "identity") -> Tensor:
    return _activated(F.linear(x, weight, bias), activation)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *,
    stride: Any = 1, padding: Any = 0, activation: str = "identity",
) -> Tensor:  # fmt: skip
    return _activated(F.conv2d(x, weight, bias, stride=stride, padding=padding), activation)


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, *,
    eps: float = 1e-5, channel_axis: int = -1, activation: str = "identity",
) -> Tensor:  # fmt: skip
    rows = x.flatten(0, -2) if channel_axis == -1 else x
    y = F.batch_norm(rows, None, None, weight, bias, training=True, eps=eps)
    return _activated(y.reshape_as(x), activation)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, *, scale: float) -> Tensor:
    """As LeViT's authors write it."""
    scores = q @ k.transpose(-2, -1) * scale
    return (scores if bias is None else scores + bias).softmax(-1) @ v


def attention_fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, *, scale: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def position_bias(table: Tensor, index: Tensor) -> Tensor:
    return table[:, index]


def subsample(x: Tensor, *, resolution: tuple[int, int], stride: int) -> Tensor:
    B, _, C = x.shape
    return x.view(B, *resolution, C)[:, ::stride, ::stride].reshape(B, -1, C)


def residual(x: Tensor, branch: Tensor, factor: Tensor | None = None) -> Tensor:
    return x + (branch if factor is None else branch * factor.view(-1, *[1] * (branch.ndim - 1)))


def global_average_pool(x: Tensor) -> Tensor:
    return x.mean(1)


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


PEERS: dict[str, list[Callable[..., Tensor]]] = {
    "linear": [linear],
    "conv2d": [conv2d],
    "batch_norm": [batch_norm],
    "attention": [attention, attention_fused],
    "position_bias": [position_bias],
    "subsample": [subsample],
    "residual": [residual],
    "global_average_pool": [global_average_pool],
    "cross_entropy": [cross_entropy],
    "activation": [_activated],
}
"""Ways to write an operation; where there are several, the fastest one counts."""


def peers(case: Case) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Any]]]:
    """Forward and backward of an operation in PyTorch, by a name for the way it is written."""
    ways = {}
    for function in PEERS.get(case.operation, []):
        ways[function.__name__] = _calls(function, case, torch.preserve_format)
    if case.args and getattr(case.args[0], "ndim", 0) == 4 and case.operation in ("conv2d", "batch_norm"):
        for layout in torch.contiguous_format, torch.channels_last:
            ways[str(layout).removeprefix("torch.")] = _calls(PEERS[case.operation][0], case, layout)
    return ways


def _calls(function: Callable[..., Tensor], case: Case, layout: Any) -> tuple[Callable[[], Tensor], Callable[[], Any]]:
    def tensor(value: Any) -> Any:
        if not hasattr(value, "shape") or value is None:
            return value
        t = torch.from_numpy(value)
        return t.contiguous(memory_format=layout) if t.ndim == 4 and layout is not torch.preserve_format else t

    args = [tensor(value) for value in case.args]
    wanted = [t for t in args if isinstance(t, Tensor) and t.is_floating_point()]
    if case.operation == "batch_norm":
        wanted = [wanted[0], *wanted[3:]]  # the statistics are computed from x
    if not case.backward_kwargs.get("need_dx", True):
        wanted = wanted[1:]
    for t in wanted:
        t.requires_grad_()

    def forward() -> Tensor:
        return function(*args, **case.kwargs)

    y = forward()
    dy = tensor(case.dy) if y.ndim else torch.full_like(y, float(case.dy))

    def backward() -> Any:
        return torch.autograd.grad(y, wanted, dy, retain_graph=True)

    return forward, backward
