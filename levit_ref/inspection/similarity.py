"""Similarity of layers: linear centred kernel alignment (CKA)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from levit_ref.inspection.activations import Activations
from levit_ref.ops import Array

AFTER_BLOCKS = ("stem.tokens", "stages.*.resid_post", "logits")
"""The values after the stem and after every block, and the logits."""


@dataclass(frozen=True)
class LayerSimilarity:
    """CKA between layers, see :func:`layer_similarity`.

    Attributes
    ----------
    rows, columns : tuple of str
        Names of the values compared.
    cka : ndarray of float64, shape (rows, columns)
    images : int
        Number of pictures that it was estimated from.
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
    acts: Activations,
    other: Activations | None = None,
    names: str | Iterable[str] = AFTER_BLOCKS,
    *,
    debiased: bool = True,
) -> LayerSimilarity:
    """Linear CKA between all pairs of layers of a model, or of two models.

    Every picture is one example; its features are all entries of the value, of every token and channel.

    Parameters
    ----------
    acts : Activations
        Of a hundred or more pictures: CKA is an estimate. ``record(model, images, AFTER_BLOCKS, batch_size=64)`` runs
        them in batches.
    other : Activations, optional
        Of the same pictures by another model, whose layers are the columns; by default the same model's.
    names : str or iterable of str
        Names or patterns; by default the values after the stem and after every block, and the logits.
    debiased : bool
        See :func:`linear_cka`; by default on, since layers have far more features than there are pictures.

    Returns
    -------
    similarity : LayerSimilarity

    Raises
    ------
    ValueError
        If a value was not recorded, has no axis of images, is the same for all pictures, or there are too few; or if
        the two records are of different numbers of pictures.
    """
    patterns = [names] if isinstance(names, str) else list(names)
    rows = _grams(acts, patterns, debiased)
    columns = rows if other is None else _grams(other, patterns, debiased)
    n, m = (len(next(iter(grams.values()))) for grams in (rows, columns))
    if n != m:
        raise ValueError(f"layer_similarity: records of {n} and of {m} pictures; they must be the same pictures")
    cka = _alignment(list(rows.values()), list(columns.values()), debiased)
    return LayerSimilarity(tuple(rows), tuple(columns), cka, n)


def _grams(acts: Activations, names: list[str], debiased: bool) -> dict[str, Array]:
    values = acts.needed(names, by="layer_similarity")
    for name in values:
        if acts.spec(name).axes[0] != "B":
            raise ValueError(f"layer_similarity: {name} has axes ({', '.join(acts.spec(name).axes)}), none of images")
    return {name: _gram(value, debiased) for name, value in values.items()}


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
