"""One step of an exponential moving average."""

from __future__ import annotations

from levit_ref.ops._checks import check_flat, checked
from levit_ref.ops._rows import chunks
from levit_ref.ops._types import Array


def _check(average: Array, value: Array, share: float) -> None:
    check_flat("move_average: average", average)
    check_flat("move_average: value", value, like=average)


@checked(_check)
def move_average(average: Array, value: Array, share: float) -> None:
    """``average <- average + share (value - average)``, in place.

    Parameters
    ----------
    average, value : ndarray, shape (P,)
    share : float
        Weight of the new value, 1 - decay.
    """
    for i in chunks(average.size):
        average[i] += share * (value[i] - average[i])
