"""Cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.ops.losses import CrossEntropySaved
from levit_ref.runtime.native.arrays import rows
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.cross_entropy_forward)
def cross_entropy_forward(
    logits: Array, targets: npt.NDArray[Any], *, label_smoothing: float = 0.0
) -> tuple[np.floating[Any], CrossEntropySaved]:
    t = np.ascontiguousarray(ops.target_distribution(targets, logits.shape[1], logits.dtype, label_smoothing))  # (B, K)
    losses, probs = extension.cross_entropy_forward(rows(logits), t)  # (B,), (B, K)
    return losses.mean(dtype=np.float64).astype(np.float32), CrossEntropySaved(probs, t)


@kernel(ops.cross_entropy_backward, array=lambda dloss, saved: saved.probs)
def cross_entropy_backward(dloss: float | np.floating[Any], saved: CrossEntropySaved) -> Array:
    probs, t = saved
    dlogits: Array = extension.cross_entropy_backward(rows(probs), rows(t), float(dloss) / len(t))
    return dlogits
