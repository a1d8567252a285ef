"""Attention: :mod:`levit_ref.ops.attention`.

Untapped, one kernel does all of it, and no array of the size of the probabilities exists. A tap gets to see everything
between the inputs and the result, so with a tap the same steps run one by one; they give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array, Tap, untapped
from levit_ref.ops.attention import AttentionSaved, check_attention, check_attention_backward
from levit_ref.runtime.native.arrays import keys_first, serves
from levit_ref.runtime.native.softmax import softmax_backward, softmax_forward


def attention_forward(
    q: Array, k: Array, v: Array, bias: Array | None = None, *, scale: float, tap: Tap = untapped
) -> tuple[Array, AttentionSaved]:
    """See :func:`levit_ref.ops.attention_forward`.

    The heads of the untapped ``context`` lie side by side in memory: merging them copies nothing.
    """
    if not serves(q):
        return ops.attention_forward(q, k, v, bias, scale=scale, tap=tap)
    check_attention(q, k, v, bias)
    q, k, v = _readable(q), _readable(k), _readable(v)
    if tap is untapped:
        context = _native.attention_forward(q, k, v, _keys_first(bias), scale).transpose(0, 2, 1, 3)
        return context, AttentionSaved(q, k, v, bias, scale, None)
    probs = tap("probs", _probs(q, k, bias, scale, tap))
    context = tap("context", _native.multiply_heads(_readable(probs), v, 1, "none"))
    return context, AttentionSaved(q, k, v, bias, scale, probs)


def _probs(q: Array, k: Array, bias: Array | None, scale: float, tap: Tap) -> Array:
    scores = tap("scores", _native.multiply_heads(q, k, scale, "second"))
    if bias is not None:
        scores = scores + bias
    return softmax_forward(tap("scores_biased", scores))[0]


def attention_backward(
    dcontext: Array, saved: AttentionSaved, *, tap: Tap = untapped, out: Sequence[Array] | None = None
) -> tuple[Array, Array, Array, Array]:
    """See :func:`levit_ref.ops.attention_backward`."""
    if not serves(dcontext):
        return ops.attention_backward(dcontext, saved, tap=tap, out=out)
    check_attention_backward(dcontext, saved, out)
    q, k, v, bias, scale, probs = saved
    q, k, v = _readable(q), _readable(k), _readable(v)
    dq, dk, dv = [_native.empty(a.shape) for a in (q, k, v)] if out is None else out
    if tap is untapped and probs is None:
        written = [a if _fits(a) else _native.empty(a.shape) for a in (dq, dk, dv)]
        dbias = _native.attention_backward(_readable(dcontext), q, k, v, _keys_first(bias), scale, *written)
        for gradient, result in zip((dq, dk, dv), written, strict=True):
            if gradient is not result:
                gradient[...] = result
        return dq, dk, dv, dbias.swapaxes(-2, -1)
    if probs is None:
        probs = _probs(q, k, bias, scale, untapped)
    probs = _readable(probs)
    dcontext = _readable(tap("context", dcontext))
    dprobs = tap("probs", _native.multiply_heads(dcontext, v, 1, "second"))
    dv[...] = _native.multiply_heads(probs, dcontext, 1, "first")
    dscores = tap("scores_biased", softmax_backward(dprobs, probs))
    dbias = _native.attention_backward_bias(np.ascontiguousarray(dscores))
    dscores = _readable(tap("scores", dscores))
    dq[...] = _native.multiply_heads(dscores, k, scale, "none")
    dk[...] = _native.multiply_heads(dscores, q, scale, "first")
    return dq, dk, dv, dbias


def _keys_first(bias: Array | None) -> Array | None:
    return None if bias is None else keys_first(bias)


def _fits(x: Array) -> bool:
    """Whether ``x`` has contiguous channels: all that the kernels ask of (B, heads, N, channels)."""
    return x.strides[-1] == x.itemsize and all(stride % x.itemsize == 0 for stride in x.strides)


def _readable(x: Array) -> Array:
    return x if _fits(x) else np.ascontiguousarray(x)
