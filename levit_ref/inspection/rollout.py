"""Attention rollout over the pyramid: from which first tokens a later token is mixed, all layers together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from levit_ref.inspection.figures import grid_of_axes, mark_token, right_bar, root_figure, show_picture, show_tokens
from levit_ref.inspection.geometry import attention_layers
from levit_ref.inspection.run import run_with_activations
from levit_ref.nn import LeViT, TokenGrid
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from levit_ref.inspection.figures import AnyFigure


@dataclass(frozen=True)
class Rollout:
    """The mixture of first tokens that every layer's tokens are, see :func:`attention_rollout`.

    Attributes
    ----------
    mixtures : dict of str to ndarray, shape (B, N, N_0)
        By name of the layer: shares of the N_0 tokens of the stem in the N tokens behind that layer. Rows sum to 1.
    grids : dict of str to TokenGrid
        The map behind each layer.
    stem : TokenGrid
    """

    mixtures: dict[str, Array]
    grids: dict[str, TokenGrid]
    stem: TokenGrid

    @property
    def pooled(self) -> Array:
        """Shares in the mean over the last tokens, which is what the heads classify: (B, H, W), each sums to 1."""
        last = list(self.mixtures.values())[-1]
        return last.mean(axis=1).reshape(len(last), self.stem.rows, self.stem.columns)

    def token(self, layer: str, token: tuple[int, int]) -> Array:
        """Shares in one token behind a layer, given by row and column: (B, H, W), each sums to 1."""
        mixture = self.mixtures[layer][:, self.grids[layer].index(token)]  # (B, N_0)
        return mixture.reshape(len(mixture), self.stem.rows, self.stem.columns)


def attention_rollout(model: LeViT, images: Array, *, skip: float = 0.5) -> Rollout:
    """Multiply the attentions of all layers, residual paths included.

    With ``P`` the probabilities of a layer, mean over its heads, and ``R`` the mixture before it:

    - in a block, ``R <- (skip I + (1 - skip) P) R``, since its output is its input plus what attention brings;
    - in a shrinking attention, ``R <- P R``: there is no residual path around it, and ``P`` is (N_q, N_k), so that R
      goes from 196 rows to 49 to 16 in the models for 224 pixels. The columns stay the stem's tokens.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.
    skip : float
        The share that the residual path is given; 0.5 in the source.

    Returns
    -------
    rollout : Rollout

    Raises
    ------
    ValueError
        If ``skip`` is not between 0 and 1.

    Notes
    -----
    Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 3.1: ``A = 0.5 W_att + 0.5 I``,
    heads averaged. Theirs has no shrinking attention; leaving the identity out there is this package's extension.
    It is a convention and not a measurement: half for the skip path is a choice, values and their lengths do not
    count, MLPs do not move anything between tokens, and what a token of the stem sees of the picture is not in it.
    """
    if not 0 <= skip <= 1:
        raise ValueError(f"attention_rollout: skip must be between 0 and 1, got {skip}")
    layers = attention_layers(model)
    with model.inference():
        _, acts = run_with_activations(model, images, [f"{name}.probs" for name in layers])
    mixtures: dict[str, Array] = {}
    mixture: Array | None = None
    for name, layer in layers.items():
        step = acts[f"{name}.probs"].mean(axis=1)  # (B, N_q, N_k)
        if not layer.shrinks:
            step = (1 - skip) * step + skip * np.eye(layer.keys.tokens, dtype=step.dtype)
        mixture = step if mixture is None else step @ mixture  # (B, N_q, N_0)
        mixtures[name] = mixture
    return Rollout(mixtures, {name: layer.queries for name, layer in layers.items()}, next(iter(layers.values())).keys)


def draw_rollout(
    picture: npt.NDArray[Any], rollout: Rollout, *, image: int = 0, figure: AnyFigure | None = None
) -> Figure:
    """Draw the mixture of a middle token behind the last layer of each map size, and that of the pooled features.

    Every map is drawn relative to its largest share, which its title says.

    Parameters
    ----------
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    rollout : Rollout
    image : int
        Which of the pictures in ``rollout`` this one is.
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    last_of_size = {grid.pitch: name for name, grid in rollout.grids.items()}
    tall = picture.shape[1] / picture.shape[2]
    figure, axes = grid_of_axes(figure, 1, 2 + len(last_of_size), tall=tall, extra=0.3)
    first, *middle, last = axes[0]
    show_picture(first, picture)
    first.set_title("picture", fontsize=9)
    for ax, name in zip(middle, last_of_size.values(), strict=True):
        grid = rollout.grids[name]
        what = f"ringed token, 1 of {grid.tokens},\nafter {name.removeprefix('stages.')}"
        _draw_shares(ax, picture, rollout.token(name, grid.middle)[image], rollout.stem, what)
        mark_token(ax, grid, grid.middle)
    drawn = _draw_shares(
        last, picture, rollout.pooled[image], rollout.stem, "what is classified:\nmean of the last tokens"
    )
    right_bar(figure, axes, drawn, "share,\nrelative to the largest")
    figure.suptitle(
        f"Attention rollout: shares of the stem's {rollout.stem.tokens} tokens in what is behind a layer", fontsize=11
    )
    return root_figure(figure)


def _draw_shares(ax: Axes, picture: npt.NDArray[Any], shares: Array, grid: TokenGrid, what: str) -> AxesImage:
    largest = float(shares.max())
    ax.set_title(f"{what}\nlargest share {largest:.1%}", fontsize=8)
    return show_tokens(ax, picture, shares / largest, grid, vmin=0, vmax=1)
