"""Receptive field: the pixels that a token can see, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from levit_ref.inspection.figures import HEAT, ORANGE, grid_of_axes, mark_point, right_bar, root_figure, show_picture
from levit_ref.inspection.geometry import stage_grid, stem_grid
from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.inspection.names import nearest
from levit_ref.nn import ActivationSpec, LeViT, StemConv, TokenGrid
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.figures import AnyFigure

PANELS_A_ROW = 5


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
    specs = {spec.name: spec for spec in model.activation_specs()}
    if name not in specs:
        raise ValueError(f"{model.config.name} has no value {name!r}; {nearest(name, specs)}")
    grid = _grid_of(model, specs[name])
    token = grid.middle if token is None else token
    grid.index(token)  # raises if there is no such token
    rng = np.random.default_rng(seed)
    twin = _random_twin(model)
    spec_of_twin = next(spec for spec in twin.activation_specs() if spec.name == name)
    picture = rng.standard_normal((1, 3, *model.image_size))
    mask = _gradients_from_token(twin, picture, spec_of_twin, token, 1, rng) != 0
    if images is None:
        return ReceptiveField(name, token, grid, mask)
    strength = np.sqrt(_gradients_from_token(model, images, specs[name], token, probes, rng))
    return ReceptiveField(name, token, grid, mask, strength)


def stem_receptive_box(model: LeViT, token: tuple[int, int], convs: int | None = None) -> tuple[int, int, int, int]:
    """The receptive field of a token behind the stem by closed formula: what :func:`receptive_field` has to find.

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
    y, x = stem_grid(model, convs).centre(token)
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
    spec = spec.for_batch(len(images))
    squares = np.zeros(model.image_size)
    for _ in range(probes):
        direction = np.zeros(spec.shape)
        at_token = spec.as_grid(direction)[:, token[0], token[1]]  # (B, C), a view
        at_token[...] = rng.standard_normal(at_token.shape)
        with model.inference():
            _, gradients = run_with_gradients(model, images, "images", of={spec.name: direction})
        squares += np.square(gradients["images"], dtype=np.float64).sum(axis=1).mean(axis=0) / probes
    return squares


def _grid_of(model: LeViT, spec: ActivationSpec) -> TokenGrid:
    """The map on which the tokens of a value stand: there is one map of its size."""
    if spec.grid is None or spec.axes not in (("B", "C", "H", "W"), ("B", "N", "C")):
        raise ValueError(
            f"{spec.name} has axes ({', '.join(spec.axes)}): neither a map (B, C, H, W) nor tokens (B, N, C)"
        )
    stem = [stem_grid(model, convs) for convs in range(len(model.config.stem) + 1)]
    grids = [*stem, *(stage_grid(model, stage) for stage in range(len(model.stages)))]
    return next(grid for grid in grids if (grid.rows, grid.columns) == spec.grid[1:3])


def draw_receptive_fields(
    picture: npt.NDArray[Any], fields: Sequence[ReceptiveField], *, figure: AnyFigure | None = None
) -> Figure:
    """Draw what tokens see: a frame around the receptive field, and inside the strength where it was measured.

    Parameters
    ----------
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    fields : sequence of ReceptiveField
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    from matplotlib.patches import Rectangle

    columns = min(PANELS_A_ROW, len(fields))
    tall = picture.shape[1] / picture.shape[2]
    figure, axes = grid_of_axes(figure, -(-len(fields) // columns), columns, tall=tall, extra=0.15)
    for ax, field in zip(axes.flat, fields, strict=False):
        show_picture(ax, picture, grey=True)
        if field.strength is not None:
            relative = field.strength / (field.strength.max() or 1.0)
            drawn = ax.imshow(relative, cmap=HEAT, vmin=0, vmax=1, alpha=0.8 * field.mask)
        top, left, bottom, right = field.box
        frame = (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1
        ax.add_patch(Rectangle(*frame, fill=False, edgecolor=ORANGE, linewidth=2, clip_on=False))
        if right - left > picture.shape[2] / 8:  # the cross would hide a smaller frame
            mark_point(ax, field.grid, field.token)
        ax.set_title(f"{field.name.removeprefix('stages.')}\n{bottom - top + 1}x{right - left + 1} pixels", fontsize=8)
    for ax in axes.flat[len(fields) :]:
        ax.set_axis_off()
    if any(field.strength is not None for field in fields):
        right_bar(figure, axes, drawn, "|d token / d pixel|, relative")
    figure.suptitle("What a token (+) sees: all that it can (frame), and how much of it counts (colour)", fontsize=11)
    return root_figure(figure)
