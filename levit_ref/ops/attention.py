"""Scaled dot-product attention with an additive position bias.

Axes: ``B`` batch, ``h`` heads, ``q`` queries (N_q of them), ``k`` keys (N_k), ``d`` key channels (D),
``e`` value channels (E; in LeViT E = 2 D, and 4 D where attention shrinks the map).
"""

from __future__ import annotations

from typing import NamedTuple

from levit_ref.ops._checks import check_floating, check_ndim, check_shape, checked, given
from levit_ref.ops._types import Array, Tap, untapped
from levit_ref.ops.softmax import softmax_backward, softmax_forward


class AttentionSaved(NamedTuple):
    """What :func:`attention_backward` needs. The scores are not: softmax's gradient is a function of ``probs``.

    ``probs``, by far the largest array, may be left out: it can be computed again from q, k and bias.
    """

    q: Array  # (B, h, N_q, D)
    k: Array  # (B, h, N_k, D)
    v: Array  # (B, h, N_k, E)
    bias: Array | None  # (h, N_q, N_k)
    scale: float
    probs: Array | None  # (B, h, N_q, N_k)


def _check(q: Array, k: Array, v: Array, bias: Array | None = None, *, scale: float, tap: Tap = untapped) -> None:
    """Raise unless the arguments of :func:`attention_forward` fit together."""
    check_floating("attention", q=q, k=k, v=v, **given(bias=bias))
    check_ndim("attention", "q", q, "(B, heads, N_q, D)")
    check_ndim("attention", "k", k, "(B, heads, N_k, D)")
    check_ndim("attention", "v", v, "(B, heads, N_k, E)")
    B, heads, N_q, D = q.shape
    N_k, E = v.shape[2:]
    check_shape("attention", "k", k, (B, heads, N_k, D), "batch, heads and D of q, keys of v")
    check_shape("attention", "v", v, (B, heads, N_k, E), "batch and heads of q")
    if bias is not None:
        check_shape("attention", "bias", bias, (heads, N_q, N_k), "(heads, N_q, N_k)")


@checked(_check)
def attention_forward(
    q: Array, k: Array, v: Array, bias: Array | None = None, *, scale: float, tap: Tap = untapped
) -> tuple[Array, AttentionSaved]:
    """Every query takes the mean of the values, weighted by how well it fits their keys.

    1. ``scores[b,h,q,k] = scale sum_d q[b,h,q,d] k[b,h,k,d]``
    2. ``scores_biased = scores + bias[h,q,k]`` (the bias is not scaled)
    3. ``probs = softmax over k``
    4. ``context[b,h,q,e] = sum_k probs[b,h,q,k] v[b,h,k,e]``

    Parameters
    ----------
    q : ndarray, shape (B, heads, N_q, D)
    k : ndarray, shape (B, heads, N_k, D)
    v : ndarray, shape (B, heads, N_k, E)
    bias : ndarray, shape (heads, N_q, N_k), optional
        Shared by the batch, see :func:`levit_ref.ops.position_bias_forward`.
    scale : float
        LeViT's is ``D ** -0.5``.
    tap : callable
        Sees ``scores``, ``scores_biased``, ``probs`` and ``context``, and may replace them.

    Returns
    -------
    context : ndarray, shape (B, heads, N_q, E)
    saved : AttentionSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, shapes do not fit, or an axis is empty.

    Notes
    -----
    Agrees with ``torch.nn.functional.scaled_dot_product_attention`` with ``attn_mask=bias``. Paper, equation 1.
    """
    probs, _ = softmax_forward(_scores(q, k, bias, scale, tap))  # 1, 2, 3
    probs = tap("probs", probs)
    context = tap("context", probs @ v)  # 4: (B, heads, N_q, E)
    return context, AttentionSaved(q, k, v, bias, scale, probs)


def _scores(q: Array, k: Array, bias: Array | None, scale: float, tap: Tap) -> Array:
    """Steps 1 and 2: what the softmax sees, (B, heads, N_q, N_k)."""
    scores = q @ k.swapaxes(-2, -1)  # 1
    scores *= scale
    scores = tap("scores", scores)
    if bias is not None:
        scores = scores + bias  # 2: a new array, since the tap may have kept the old one
    return tap("scores_biased", scores)


def _check_backward(dcontext: Array, saved: AttentionSaved, *, tap: Tap = untapped) -> None:
    check_floating("attention_backward", dcontext=dcontext, v=saved.v)
    shape = (*saved.q.shape[:3], saved.v.shape[3])
    check_shape("attention_backward", "dcontext", dcontext, shape, "the shape of context")


@checked(_check_backward)
def attention_backward(
    dcontext: Array, saved: AttentionSaved, *, tap: Tap = untapped
) -> tuple[Array, Array, Array, Array]:
    """Gradients of :func:`attention_forward` with respect to ``q``, ``k``, ``v`` and ``bias``, its steps reversed.

    4. ``context = probs @ v``:  ``dprobs = dcontext @ v^T``, ``dv = probs^T @ dcontext``
    3. ``probs = softmax``:      ``dscores = probs (dprobs - sum_k dprobs probs)``
    2. ``scores + bias``:        ``dbias = sum_b dscores``, since the batch shares the bias
    1. ``scale q @ k^T``:        ``dq = scale dscores @ k``, ``dk = scale dscores^T @ q``

    Parameters
    ----------
    dcontext : ndarray, shape (B, heads, N_q, E)
    saved : AttentionSaved
    tap : callable
        Sees the gradients under the names of the forward pass.

    Returns
    -------
    dq, dk, dv : ndarray, the shapes of q, k, v
    dbias : ndarray, shape (heads, N_q, N_k)
        Also where the forward pass had no bias: then it is the gradient of a bias of zeros.
    """
    q, k, v, bias, scale, probs = saved
    if probs is None:
        probs = softmax_forward(_scores(q, k, bias, scale, untapped))[0]
    dcontext = tap("context", dcontext)
    dprobs = tap("probs", dcontext @ v.swapaxes(-2, -1))  # 4: (B, heads, N_q, N_k)
    dv = probs.swapaxes(-2, -1) @ dcontext  # (B, heads, N_k, E)
    dscores = tap("scores_biased", softmax_backward(dprobs, probs))  # 3
    dbias = dscores.sum(axis=0)  # 2: (heads, N_q, N_k)
    dscores = tap("scores", dscores)
    dq = dscores @ k  # 1: (B, heads, N_q, D)
    dq *= scale
    dk = dscores.swapaxes(-2, -1) @ q  # (B, heads, N_k, D)
    dk *= scale
    return dq, dk, dv, dbias
