"""Receptive field: the pixels that a token can see, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from levit_ref._suggest import the_nearest
from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.nn import ActivationSpec, LeViT, StemConv, TokenGrid
from levit_ref.nn.specs import catalogue
from levit_ref.ops import Array

IMAGES_AT_ONCE = 32
"""How many probes are run as one batch."""


@dataclass(frozen=True)
class ReceptiveField:
    """What one token sees of the picture, see :func:`receptive_field`.

    Attributes
    ----------
    name : str
        Of the value whose token it is.
    token : (int, int)
        Row and column on ``grid``.
    grid : TokenGrid
    mask : ndarray of bool, shape (H, W)
        The pixels on which the token depends at all, whatever the weights.
    strength : ndarray of float64, shape (H, W), optional
        The effective receptive field: how strongly it depends on each of them, measured.
    """

    name: str
    token: tuple[int, int]
    grid: TokenGrid
    mask: npt.NDArray[np.bool_]
    strength: Array | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First row, first column, last row, last column of the pixels in the mask."""
        rows, columns = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (1, 0))
        return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])


def receptive_field(
    model: LeViT,
    name: str,
    token: tuple[int, int] | None = None,
    images: Array | None = None,
    *,
    probes: int = 8,
    seed: int = 0,
) -> ReceptiveField:
    """The pixels on which a token depends, found by sending gradients from the token back to the picture.

    The mask is exact. It is that of a twin of the model with random weights in float64: its gradient at a pixel is
    exactly zero if no path leads from the pixel to the token, and nonzero otherwise (random paths cancel with
    probability zero). The model's own weights would not do, since an activation that is off, or a branch whose last
    normalisation still has the weight 0, hides paths. The twin is narrow, since widths change no path.

    The strength is the model's own: the root of the mean square gradient with which the token's channels, in random
    directions, move with a pixel; that is, up to a constant, the Frobenius norm of the Jacobian of token by pixel.

    The mask takes one pass of the twin, forward and backward; the strength, one of the model for every 32 probes.

    Parameters
    ----------
    model : LeViT
    name : str
        A value with a map or with tokens: ``stem.conv1.linear``, ``stem.act1``, ``stem.tokens``,
        ``stages.0.blocks.0.resid_mid``, and so on.
    token : (int, int), optional
        Row and column; by default one in the middle.
    images : ndarray, shape (B, 3, H, W), optional
        Normalised; with them the strength is measured, as the mean over them.
    probes : int
        Random directions for each image.
    seed : int
        Of the directions.

    Returns
    -------
    field : ReceptiveField

    Raises
    ------
    ValueError
        If the name is none of a map or of tokens, or there is no such token.

    Notes
    -----
    Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
    NeurIPS 2016, for the strength.
    """
    specs = catalogue(model)
    if name not in specs:
        raise ValueError(f"{model.config.name} has no value {name!r}; {the_nearest(name, specs)}")
    grid = _grid_of(specs[name])
    token = grid.middle if token is None else token
    grid.index(token)  # raises if there is no such token
    rng = np.random.default_rng(seed)
    twin = _random_twin(model)
    picture = rng.standard_normal((1, 3, *model.image_size))
    mask = _gradients_from_token(twin, picture, catalogue(twin)[name], token, 1, rng) != 0
    if images is None:
        return ReceptiveField(name, token, grid, mask)
    strength = np.sqrt(_gradients_from_token(model, images, specs[name], token, probes, rng))
    return ReceptiveField(name, token, grid, mask, strength)


def stem_receptive_box(model: LeViT, token: tuple[int, int], convs: int | None = None) -> tuple[int, int, int, int]:
    """The receptive field of a token after the stem by closed formula; :func:`receptive_field` has to find the same.

    Along one axis, convolutions of kernels ``k_i`` and strides ``s_i`` see ``1 + sum_i (k_i - 1) s_1 ... s_(i-1)``
    pixels: 31 for the four 3x3 convolutions of stride 2 of the paper's models.

    Parameters
    ----------
    model : LeViT
    token : (int, int)
        Row and column.
    convs : int, optional
        How many convolutions of the stem; by default all.

    Returns
    -------
    box : (int, int, int, int)
        First row, first column, last row, last column, as far as they lie on the picture.
    """
    size, pitch = 1, 1
    for conv in model.config.stem[:convs]:
        size += (conv.kernel_size - 1) * pitch
        pitch *= conv.stride
    y, x = model.stem.grids[-1 if convs is None else convs].centre(token)
    H, W = model.image_size
    half = (size - 1) / 2
    return int(max(0, y - half)), int(max(0, x - half)), int(min(H - 1, y + half)), int(min(W - 1, x + half))


def _random_twin(model: LeViT) -> LeViT:
    """A narrow float64 model with the same maps, kernels and residual paths, and random weights everywhere."""
    config = model.config
    stages = len(config.embed_dims)
    narrow = replace(
        config,
        embed_dims=(4,) * stages,
        key_dim=2,
        num_heads=(1,) * stages,
        downsample_heads=(1,) * (stages - 1),
        stem=tuple(StemConv(4, conv.kernel_size, conv.stride, conv.padding) for conv in config.stem),
        activation="silu",  # has no piece on which it is constant
        attention_activation="silu",
        drop_path=0.0,
    )
    twin = LeViT(narrow, num_classes=1, image_size=model.image_size, dtype=np.float64)
    rng = np.random.default_rng(0)
    twin.flat_data += rng.uniform(0.1, 0.5, twin.flat_data.shape) * rng.choice([-1, 1], twin.flat_data.shape)
    return twin


def _gradients_from_token(
    model: LeViT, images: Array, spec: ActivationSpec, token: tuple[int, int], probes: int, rng: np.random.Generator
) -> Array:
    """Gradients with which a token of a value moves with the pixels, in random directions.

    Returns
    -------
    squares : ndarray of float64, shape (H, W)
        Squared gradients, summed over the colours, mean over images and probes.
    """
    row, column = token
    each = np.repeat(images, probes, axis=0)  # every image with every one of its probes
    squares = np.zeros(model.image_size)
    for start in range(0, len(each), IMAGES_AT_ONCE):
        some = each[start : start + IMAGES_AT_ONCE]
        of_batch = spec.for_batch(len(some))
        direction = np.zeros(of_batch.shape)
        at_token = of_batch.as_grid(direction)[:, row, column]  # (images, C), a view
        at_token[...] = rng.standard_normal(at_token.shape)
        with model.inference():
            _, gradients = run_with_gradients(model, some, "images", of={spec.name: direction})
        squares += np.square(gradients["images"], dtype=np.float64).sum(axis=(0, 1))
    return squares / len(each)


def _grid_of(spec: ActivationSpec) -> TokenGrid:
    """The map on which the tokens of a value stand."""
    if spec.axes not in (("B", "C", "H", "W"), ("B", "N", "C")):
        raise ValueError(
            f"{spec.name} has axes ({', '.join(spec.axes)}): neither a map (B, C, H, W) nor tokens (B, N, C)"
        )
    return spec.grids[0]
