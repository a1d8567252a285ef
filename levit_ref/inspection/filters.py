"""The filters of the first convolution, as pictures."""

from __future__ import annotations

from levit_ref.nn import LeViT
from levit_ref.ops import Array


def first_filters(model: LeViT) -> Array:
    """The weights of the stem's first convolution, which alone has pixels as input.

    Parameters
    ----------
    model : LeViT

    Returns
    -------
    filters : ndarray, shape (C_out, 3, k, k)
        A copy. Channels are red, green and blue of the normalised picture; the normalisation after the convolution is
        not in them.
    """
    return model.stem.convs[0].linear.weight.data.copy()
