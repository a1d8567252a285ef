"""Batch normalisation as one pair of functions: its two operations in each direction, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from levit_ref.ops import Array, Tap, batch_norm, untapped
from levit_ref.ops.batch_norm import BatchNormSaved


@dataclass(frozen=True)
class Saved:
    """What the application saves, with the statistics' variance and how many values a channel they are of."""

    saved: BatchNormSaved
    variance: Array
    count: int | None
    """None: the statistics are constants."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.saved, name)

    def with_normalised(self, normalised: Array | None) -> Saved:
        """The same with another value before the activation."""
        return replace(self, saved=self.saved._replace(normalised=normalised))


class Composed:
    """The pair, made of the operations of a module: of ``levit_ref.ops``, or of the door."""

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module

    def batch_norm_forward(
        self, x: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array, *,
        training: bool, channel_axis: int = -1, **options: Any,
    ) -> tuple[Array, Saved]:  # fmt: skip
        mean, variance, count = running_mean, running_var, None
        if training:
            mean, variance = self.module.batch_norm_statistics(x, channel_axis=channel_axis)
            count = x.size // len(mean)
        options = {"channel_axis": channel_axis, **options}
        y, saved = self.module.batch_norm_forward(x, mean, variance, weight, bias, **options)
        return y, Saved(saved, variance, count)

    def batch_norm_backward(self, dy: Array, saved: Saved, *, tap: Tap = untapped) -> tuple[Array, Array, Array]:
        """dx, dweight, dbias."""
        sums = self.module.batch_norm_backward_sums(dy, saved.saved, tap=tap)
        return self.module.batch_norm_backward(sums, saved.saved, saved.count), sums.dweight, sums.dbias


_numpy = Composed(batch_norm)


def batch_norm_forward(*args: Any, **kwargs: Any) -> tuple[Array, Saved]:
    """With NumPy."""
    return _numpy.batch_norm_forward(*args, **kwargs)


def batch_norm_backward(dy: Array, saved: Saved, *, tap: Tap = untapped) -> tuple[Array, Array, Array]:
    """With NumPy."""
    return _numpy.batch_norm_backward(dy, saved, tap=tap)
