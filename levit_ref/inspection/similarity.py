"""Similarity of layers: linear centred kernel alignment (CKA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.inspection.figures import HEAT, label_layers, root_figure, single_axes
from levit_ref.inspection.run import run_with_activations
from levit_ref.nn import LeViT
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEHIND_BLOCKS = ("stem.tokens", "stages.*.resid_post", "logits")
"""Behind the stem, behind every block, and the logits."""
NUMBERED_CELLS = 12
"""Up to so many layers, every cell says its number."""


@dataclass(frozen=True)
class LayerSimilarity:
    """CKA between layers, see :func:`layer_similarity`.

    Attributes
    ----------
    rows, columns : tuple of str
        Names of the values compared.
    cka : ndarray of float64, shape (rows, columns)
    images : int
        How many pictures it was estimated from.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cka: Array
    images: int


def linear_cka(x: Array, y: Array, *, debiased: bool = False) -> float:
    """How far two representations of the same examples agree, whatever the axes they are written in.

    With the Gram matrices ``K = X X^T`` and ``L = Y Y^T``, centred, it is the cosine between them:
    ``<K, L> / (|K| |L|)``. For centred features that is ``|Y^T X|^2 / (|X^T X| |Y^T Y|)``, Frobenius norms.

    Parameters
    ----------
    x : ndarray, shape (n, ...)
    y : ndarray, shape (n, ...)
        Two representations of the same n examples; all further axes are features.
    debiased : bool
        Estimate the inner products without bias. The plain estimate is too high where there are more features than
        examples: it comes out near 1 even for independent noise.

    Returns
    -------
    cka : float
        1 for the same representation up to rotation, scale and shift; the plain estimate is between 0 and 1, the
        debiased one scatters around 0 for independent representations.

    Raises
    ------
    ValueError
        If the numbers of examples differ, are too small, or a representation is the same for all examples.

    Notes
    -----
    Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019, section
    3; unbiased: Song et al., "Feature Selection via Dependence Maximization", JMLR 2012, equation 5, used for CKA by
    Nguyen, Raghu and Kornblith, ICLR 2021.
    """
    if len(x) != len(y):
        raise ValueError(f"linear_cka: x has {len(x)} examples and y {len(y)}; they must be the same examples")
    grams = [_gram(value, debiased) for value in (x, y)]
    return float(_alignment(grams[:1], grams[1:], debiased)[0, 0])


def layer_similarity(
    model: LeViT,
    images: Array,
    names: Sequence[str] = BEHIND_BLOCKS,
    *,
    other: LeViT | None = None,
    debiased: bool = True,
    batch_size: int = 64,
) -> LayerSimilarity:
    """Linear CKA between all pairs of layers of a model, or of two models.

    Every picture is one example; its features are all entries of the value, of every token and channel.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (n, 3, H, W)
        Normalised. Use at least a hundred or so: CKA is an estimate.
    names : sequence of str
        Names or patterns; by default what is behind the stem, behind every block, and the logits.
    other : LeViT, optional
        Whose layers the columns are; by default the same model's.
    debiased : bool
        See :func:`linear_cka`; by default on, since layers have far more features than there are pictures.
    batch_size : int
        Pictures run at once; one layer's features of all pictures are in memory at a time, beside them.

    Returns
    -------
    similarity : LayerSimilarity
    """
    rows = _grams(model, images, names, batch_size, debiased)
    columns = rows if other is None else _grams(other, images, names, batch_size, debiased)
    cka = _alignment(list(rows.values()), list(columns.values()), debiased)
    return LayerSimilarity(tuple(rows), tuple(columns), cka, len(images))


def _grams(model: LeViT, images: Array, names: Sequence[str], batch_size: int, debiased: bool) -> dict[str, Array]:
    features: dict[str, list[Array]] = {}
    for start in range(0, len(images), batch_size):
        with model.inference():
            _, acts = run_with_activations(model, images[start : start + batch_size], names)
        for name, value in acts.items():
            features.setdefault(name, []).append(value)
    return {name: _gram(np.concatenate(features.pop(name)), debiased) for name in list(features)}


def _gram(features: Array, debiased: bool) -> Array:
    """The centred Gram matrix (n, n) of n examples, in float64; for the debiased estimate U-centred instead.

    U-centring (Szekely and Rizzo, "Partial Distance Correlation with Methods for Dissimilarities", 2014, definition 2)
    has the property that ``<K, L> / (n (n - 3))`` is the unbiased estimate.
    """
    n = len(features)
    if n < (4 if debiased else 2):
        raise ValueError(f"CKA needs at least {4 if debiased else 2} examples, got {n}")
    x = features.reshape(n, -1).astype(np.float64)
    x -= x.mean(axis=0)  # changes nothing below but its rounding
    gram = x @ x.T  # (n, n)
    if np.trace(gram) <= 1e-20 * n * max(1.0, float(np.square(features, dtype=np.float64).mean())):
        raise ValueError("CKA is not defined for features that are the same for all examples")
    if debiased:
        np.fill_diagonal(gram, 0)
        sums = gram.sum(axis=0) / (n - 2)
        gram += gram.sum() / ((n - 1) * (n - 2)) - sums[:, None] - sums
        np.fill_diagonal(gram, 0)
    return gram


def _alignment(rows: Sequence[Array], columns: Sequence[Array], debiased: bool) -> Array:
    """Cosines between Gram matrices."""
    dot = np.array([[np.vdot(row, column) for column in columns] for row in rows])
    norms = [np.array([np.linalg.norm(k) for k in side]) for side in (rows, columns)]
    return dot / np.outer(*norms)


def draw_layer_similarity(similarity: LayerSimilarity, *, ax: Axes | None = None) -> Figure:
    """Draw the matrix of similarities.

    Parameters
    ----------
    similarity : LayerSimilarity
    ax : Axes, optional

    Returns
    -------
    figure : Figure
    """
    side = 2.0 + 0.42 * max(len(similarity.rows), 5)
    ax = single_axes(ax, min(side, 7.0), min(side + 1.4, 8.0))
    drawn = ax.imshow(similarity.cka, cmap=HEAT, vmin=0, vmax=1)
    bar = root_figure(ax).colorbar(drawn, ax=ax, shrink=0.85)
    bar.set_label("linear CKA\n(1: same up to rotation, scale)", fontsize=8)
    short = [
        [name.removeprefix("stages.").removesuffix(".resid_post") for name in side]
        for side in (similarity.rows, similarity.columns)
    ]
    label_layers(ax, short[0], "y")
    label_layers(ax, short[1], "x")
    if max(similarity.cka.shape) <= NUMBERED_CELLS:
        for (i, j), value in np.ndenumerate(similarity.cka):
            colour = "black" if value > 0.6 else "white"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    ax.set_title(f"How alike layers see {similarity.images:,} pictures", fontsize=11)
    return root_figure(ax)
