"""Cross-entropy: :mod:`levit_ref.ops.losses`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.losses import CrossEntropySaved, check_cross_entropy
from levit_ref.runtime.native.arrays import rows, serves


def cross_entropy_forward(
    logits: Array, targets: npt.NDArray[Any], *, label_smoothing: float = 0.0
) -> tuple[np.floating[Any], CrossEntropySaved]:
    """See :func:`levit_ref.ops.cross_entropy_forward`."""
    if not serves(logits):
        return ops.cross_entropy_forward(logits, targets, label_smoothing=label_smoothing)
    t = np.ascontiguousarray(check_cross_entropy(logits, targets, label_smoothing))  # (B, K)
    losses, probs = _native.cross_entropy_forward(rows(logits), t)  # (B,), (B, K)
    return losses.mean(dtype=np.float64).astype(np.float32), CrossEntropySaved(probs, t)


def cross_entropy_backward(dloss: float | np.floating[Any], saved: CrossEntropySaved) -> Array:
    """See :func:`levit_ref.ops.cross_entropy_backward`."""
    probs, t = saved
    if not serves(probs):
        return ops.cross_entropy_backward(dloss, saved)
    dlogits: Array = _native.cross_entropy_backward(rows(probs), rows(t), float(dloss) / len(t))
    return dlogits
