"""Attention.

Untapped, one kernel does all of it, and no array of the size of the probabilities exists. A tap gets to see everything
between the inputs and the result, so with a tap the same steps run one by one; they give the same bits.
"""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array, Tap, untapped
from levit_ref.ops.attention import AttentionSaved
from levit_ref.runtime.native.arrays import keys_first
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.heads import columns_like
from levit_ref.runtime.native.kernel import kernel
from levit_ref.runtime.native.softmax import softmax_backward, softmax_forward


@kernel(ops.attention_forward)
def attention_forward(
    q: Array, k: Array, v: Array, bias: Array | None = None, *, scale: float, tap: Tap = untapped
) -> tuple[Array, AttentionSaved]:
    q, k, v = _readable(q), _readable(k), _readable(v)
    if tap is untapped:
        # the heads lie side by side in memory: merging them copies nothing
        context = extension.attention_forward(q, k, v, _keys_first(bias), scale).transpose(0, 2, 1, 3)
        return context, AttentionSaved(q, k, v, bias, scale, None)
    probs = tap("probs", _probs(q, k, bias, scale, tap))
    context = tap("context", extension.multiply_heads(_readable(probs), v, 1, "none"))
    return context, AttentionSaved(q, k, v, bias, scale, probs)


def _probs(q: Array, k: Array, bias: Array | None, scale: float, tap: Tap) -> Array:
    scores = tap("scores", extension.multiply_heads(q, k, scale, "second"))
    if bias is not None:
        scores = scores + bias
    return softmax_forward(tap("scores_biased", scores))[0]


@kernel(ops.attention_backward)
def attention_backward(
    dcontext: Array, saved: AttentionSaved, *, tap: Tap = untapped
) -> tuple[Array, Array, Array, Array]:
    q, k, v, bias, scale, probs = saved
    q, k, v = _readable(q), _readable(k), _readable(v)
    if tap is untapped and probs is None:
        if q.shape[2] == k.shape[2]:  # one product made them, or may have
            dq, dk, dv = columns_like(q, k, v)
        else:
            (dq,), (dk, dv) = columns_like(q), columns_like(k, v)
        dbias = extension.attention_backward(_readable(dcontext), q, k, v, _keys_first(bias), scale, dq, dk, dv)
        return dq, dk, dv, dbias.swapaxes(-2, -1)
    probs = _readable(_probs(q, k, bias, scale, untapped) if probs is None else probs)
    dcontext = _readable(tap("context", dcontext))
    dprobs = tap("probs", extension.multiply_heads(dcontext, v, 1, "second"))
    dv = extension.multiply_heads(probs, dcontext, 1, "first")
    dscores = tap("scores_biased", softmax_backward(dprobs, probs))
    dbias = extension.attention_backward_bias(np.ascontiguousarray(dscores))
    dscores = _readable(tap("scores", dscores))
    dq = extension.multiply_heads(dscores, k, scale, "none")
    dk = extension.multiply_heads(dscores, q, scale, "first")
    return dq, dk, dv, dbias


def _keys_first(bias: Array | None) -> Array | None:
    return None if bias is None else keys_first(bias)


def _readable(x: Array) -> Array:
    """``x`` with contiguous channels: all that the kernels ask of (B, heads, N, channels)."""
    fits = x.strides[-1] == x.itemsize and all(stride % x.itemsize == 0 for stride in x.strides)
    return x if fits else np.ascontiguousarray(x)
