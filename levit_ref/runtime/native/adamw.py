"""One step of AdamW, to the same bits as NumPy."""

from __future__ import annotations

import math

from levit_ref import ops
from levit_ref.ops import Array, IntArray
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.adamw_step)
def adamw_step(
    params: Array, grads: Array, m: Array, v: Array, decayed: IntArray, *,
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, step: int,
) -> None:  # fmt: skip
    beta1, beta2 = betas
    extension.adamw_step(
        params, grads, m, v, decayed.reshape(-1),
        keep=1 - lr * weight_decay, one_minus_beta1=1 - beta1, beta2=beta2, one_minus_beta2=1 - beta2,
        root_scale=1 / math.sqrt(1 - beta2**step), eps=eps, step_size=lr / (1 - beta1**step),
    )  # fmt: skip
