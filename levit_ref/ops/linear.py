"""Linear layer: one matrix product forward, two backward. These three products are most of LeViT's arithmetic.

Axes: ``M`` any number of leading axes (batch, tokens), ``C_in`` and ``C_out`` the channels.
"""

from __future__ import annotations

from typing import NamedTuple

from levit_ref.ops._checks import check_floating, check_not_empty, check_shape, checked, given
from levit_ref.ops._types import Array
from levit_ref.ops.activations import ACTIVATIONS, check_activation


class LinearSaved(NamedTuple):
    """What :func:`linear_backward` needs: both factors of the product.

    The pre-activation is not saved; the backward pass computes the product again if there is an activation.
    """

    x: Array  # (..., C_in)
    weight: Array  # (C_out, C_in)
    bias: Array | None  # (C_out,)
    activation: str


def _check(x: Array, weight: Array, bias: Array | None = None, *, activation: str = "identity") -> None:
    """Raise unless the arguments of :func:`linear_forward` fit together."""
    check_floating("linear", x=x, weight=weight, **given(bias=bias))
    check_not_empty("linear", "x", x)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x (..., C_in) has shape {x.shape}, weight (C_out, C_in) has shape {weight.shape}; C_in differs"
        )
    if bias is not None:
        check_shape("linear", "bias", bias, (len(weight),), "(C_out,)")
    check_activation("linear", activation)


@checked(_check)
def linear_forward(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str = "identity"
) -> tuple[Array, LinearSaved]:
    """Affine map of the last axis, ``y[m, o] = f(sum_i x[m, i] weight[o, i] + bias[o])``.

    Parameters
    ----------
    x : ndarray, shape (..., C_in)
    weight : ndarray, shape (C_out, C_in)
    bias : ndarray, shape (C_out,), optional
    activation : str
        f, one of :data:`levit_ref.ops.ACTIVATIONS`.

    Returns
    -------
    y : ndarray, shape (..., C_out)
    saved : LinearSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, shapes do not fit, or ``x`` is empty.

    Notes
    -----
    Agrees with ``torch.nn.functional.linear``.
    """
    C_out, C_in = weight.shape
    y = (x.reshape(-1, C_in) @ weight.T).reshape(*x.shape[:-1], C_out)  # one large product, whatever the batch axes
    if bias is not None:
        y += bias
    if activation != "identity":
        y, _ = ACTIVATIONS[activation].forward(y)
    return y, LinearSaved(x, weight, bias, activation)


def _check_backward(dy: Array, saved: LinearSaved, *, add_to: Array | None = None) -> None:
    """Raise unless ``dy`` has the shape of the result, and ``add_to`` that of the weight."""
    check_floating("linear_backward", dy=dy, weight=saved.weight, **given(add_to=add_to))
    if add_to is not None:
        check_shape("linear_backward", "add_to", add_to, saved.weight.shape, "the shape of the weight")
    check_shape("linear_backward", "dy", dy, (*saved.x.shape[:-1], len(saved.weight)), "the shape of y")


@checked(_check_backward)
def linear_backward(dy: Array, saved: LinearSaved, *, add_to: Array | None = None) -> tuple[Array, Array, Array | None]:
    """Gradients of :func:`linear_forward`.

    From ``dL = sum_mo dy[m, o] d(y[m, o])`` and the formula of the forward pass::

        dx[m, i]      = sum_o dy[m, o] weight[o, i]
        dweight[o, i] = sum_m dy[m, o] x[m, i]
        dbias[o]      = sum_m dy[m, o]

    Parameters
    ----------
    dy : ndarray, shape (..., C_out)
    saved : LinearSaved
    add_to : ndarray, shape (C_out, C_in), optional
        The gradient of the weight is added to it, in place: sums of gradients without another pass over memory.

    Returns
    -------
    dx : ndarray, shape (..., C_in)
    dweight : ndarray, shape (C_out, C_in)
        The array ``add_to`` where it is given.
    dbias : ndarray, shape (C_out,), or None if the forward pass had no bias
    """
    x, weight, bias, activation = saved
    C_out, C_in = weight.shape
    if activation != "identity":
        dy = ACTIVATIONS[activation].backward(dy, linear_forward(x, weight, bias)[0])
    dy2 = dy.reshape(-1, C_out)  # (M, C_out)
    dx = (dy2 @ weight).reshape(x.shape)  # (..., C_in)
    dweight = dy2.T @ x.reshape(-1, C_in)  # (C_out, C_in)
    if add_to is not None:
        add_to += dweight
        dweight = add_to
    dbias = dy2.sum(axis=0) if bias is not None else None  # (C_out,)
    return dx, dweight, dbias
