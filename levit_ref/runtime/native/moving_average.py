"""One step of a moving average, to the same bits as NumPy."""

from __future__ import annotations

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.move_average)
def move_average(average: Array, value: Array, share: float) -> None:
    extension.move_average(average, value, share)
