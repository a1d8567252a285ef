"""Residual sum with stochastic depth. Axes: ``B`` batch, then any."""

from __future__ import annotations

from typing import NamedTuple

import numpy.typing as npt

from levit_ref.ops._checks import check_floating, check_not_empty, check_shape, checked, given
from levit_ref.ops._types import Array


def drop_path_factor(uniform: Array, drop: float, dtype: npt.DTypeLike) -> Array:
    """One factor for each image: 0 where ``uniform < drop``, else ``1 / (1 - drop)``, so that the mean is 1.

    Parameters
    ----------
    uniform : ndarray, shape (batch,)
        A random number for each image, uniform in [0, 1).
    drop : float
        The probability of a 0, in [0, 1).
    dtype : dtype

    Returns
    -------
    factor : ndarray, shape (batch,)

    Notes
    -----
    Huang et al. 2016; for each image as in the official LeViT code, which drops with 0.1 in LeViT-384 and nowhere else.
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop_path_factor: drop must be at least 0 and below 1, got {drop}")
    keep = (uniform >= drop).astype(dtype)
    return keep / keep.dtype.type(1 - drop)


class ResidualSaved(NamedTuple):
    """What :func:`residual_backward` needs: neither of the two summands."""

    shape: tuple[int, ...]
    factor: Array | None  # (B, 1, ...): shaped to multiply y


def _check(x: Array, branch: Array, factor: Array | None = None) -> None:
    """Raise unless the arguments of :func:`residual_forward` fit together."""
    check_floating("residual", x=x, branch=branch, **given(factor=factor))
    check_not_empty("residual", "x", x)
    check_shape("residual", "branch", branch, x.shape, "the shape of x")
    if factor is not None:
        check_shape("residual", "factor", factor, x.shape[:1], "one factor for each image")


@checked(_check)
def residual_forward(x: Array, branch: Array, factor: Array | None = None) -> tuple[Array, ResidualSaved]:
    """``y[b] = x[b] + factor[b] branch[b]``; without ``factor`` the plain sum.

    Parameters
    ----------
    x, branch : ndarray, shape (B, ...)
    factor : ndarray, shape (B,), optional
        From :func:`drop_path_factor`, in training.

    Returns
    -------
    y : ndarray, shape (B, ...)
    saved : ResidualSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, shapes differ, or the batch is empty.
    """
    if factor is None:
        return x + branch, ResidualSaved(x.shape, None)
    factor = factor.reshape(-1, *[1] * (x.ndim - 1))  # (B, 1, ...)
    y = branch * factor
    y += x
    return y, ResidualSaved(x.shape, factor)


def _check_backward(dy: Array, saved: ResidualSaved) -> None:
    """Raise unless ``dy`` has the shape of the result."""
    check_floating("residual_backward", dy=dy, **given(factor=saved.factor))
    check_shape("residual_backward", "dy", dy, saved.shape, "the shape of y")


@checked(_check_backward)
def residual_backward(dy: Array, saved: ResidualSaved) -> tuple[Array, Array]:
    """``dx = dy`` and ``dbranch[b] = factor[b] dy[b]``: the skip path hands the gradient on unchanged.

    Not a copy of it: ``dx``, and without a factor ``dbranch``, are ``dy`` itself.
    """
    return dy, dy if saved.factor is None else dy * saved.factor
