"""Batch normalisation as one pair of functions: its two operations in each direction, one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from levit_ref.ops import Array, Tap, batch_norm, untapped
from levit_ref.ops.batch_norm import BatchNormSaved


class Saved(NamedTuple):
    """What the application saves, and how many values a channel the statistics are of; None: they are constants."""

    saved: BatchNormSaved
    count: int | None


def batch_norm_forward(
    x: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array, *,
    training: bool, channel_axis: int = -1, **options: Any,
) -> tuple[Array, Saved]:  # fmt: skip
    mean, variance, count = running_mean, running_var, None
    if training:
        mean, variance = batch_norm.batch_norm_statistics(x, channel_axis=channel_axis)
        count = x.size // len(mean)
    y, saved = batch_norm.batch_norm_forward(x, mean, variance, weight, bias, channel_axis=channel_axis, **options)
    return y, Saved(saved, count)


def batch_norm_backward(dy: Array, saved: Saved, *, tap: Tap = untapped) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias."""
    sums = batch_norm.batch_norm_backward_sums(dy, saved.saved, tap=tap)
    return batch_norm.batch_norm_backward(sums, saved.saved, saved.count), sums.dweight, sums.dbias
