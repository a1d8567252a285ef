"""Edits that are ready to use: switch a part of the network off, or put other values in its place.

Every function returns a mapping for the argument ``edits`` of :func:`levit_ref.run_with_activations`. A list of such
mappings is applied one after another::

    edits=[switch_off_head("stages.0.blocks.1.attn", 2), switch_off_block("stages.1.blocks.0")]

Names may be patterns: ``switch_off_bias("stages.*.attn*")`` leaves no position bias in the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.names import select
from levit_ref.ops import Array

Edit: TypeAlias = Callable[[Array], Array]
"""Takes a copy of a value, which it may change, and returns the value that flows on in its place."""

Edits: TypeAlias = Mapping[str, Edit] | Iterable[Mapping[str, Edit]]
"""Edits by name or pattern, or several such mappings, which are applied one after another."""

EVERYWHERE: Any = ...


@runtime_checkable
class DifferentiableEdit(Protocol):
    """An edit that a gradient can be taken through."""

    def __call__(self, value: Array) -> Array:
        """The value that flows on in place of ``value``."""

    def backward(self, gradient: Array) -> Array:
        """Gradient with respect to the value before the edit, from that with respect to the value after it."""


@dataclass(frozen=True)
class Overwrite:
    """Replaces a part of a value. No gradient flows back through that part.

    Parameters
    ----------
    by : float, ndarray, or callable
        What to put there; a function gets the value and returns it.
    where : index, optional
        Which part of the value, as in ``value[where]``; by default all of it.
    """

    by: float | Array | Callable[[Array], Any]
    where: Any = EVERYWHERE

    def __call__(self, value: Array) -> Array:
        """The value with the part overwritten: in the same memory layout, so that nothing else changes."""
        edited = value.copy(order="K")
        edited[self.where] = self.by(value) if callable(self.by) else self.by
        return edited

    def backward(self, gradient: Array) -> Array:
        """The gradient, with zeros in that part."""
        through = gradient.copy(order="K")
        through[self.where] = 0
        return through


def switch_off(name: str) -> dict[str, Edit]:
    """Zeros in place of the value ``name``."""
    return {name: Overwrite(0)}


def switch_off_head(attention: str, heads: int | Sequence[int]) -> dict[str, Edit]:
    """Zeros in place of the output of one or several heads.

    Parameters
    ----------
    attention : str
        Name of an attention, for example ``"stages.0.blocks.1.attn"``.
    heads : int or sequence of int
    """
    return {f"{attention}.context": Overwrite(0, (slice(None), heads))}  # (B, heads, N_q, E)


def switch_off_bias(attention: str, heads: int | Sequence[int] | None = None) -> dict[str, Edit]:
    """Zeros in place of the position bias of an attention: position makes no difference to it any more.

    Parameters
    ----------
    attention : str
    heads : int or sequence of int, optional
        By default all.
    """
    return {f"{attention}.bias": Overwrite(0, EVERYWHERE if heads is None else heads)}  # (heads, N_q, N_k)


def switch_off_block(block: str) -> dict[str, Edit]:
    """Let a block add nothing to the residual stream: it hands on its input unchanged.

    Parameters
    ----------
    block : str
        For example ``"stages.1.blocks.0"``. Not a shrinking block, since its attention has no residual path to take;
        its MLP alone can be switched off: ``switch_off("stages.1.downsample.mlp")``.
    """
    return switch_off(f"{block}.attn") | switch_off(f"{block}.mlp")


def uniform_attention(attention: str, heads: int | Sequence[int] | None = None) -> dict[str, Edit]:
    """Let every query look at all keys equally: each gets the mean of all values.

    Parameters
    ----------
    attention : str
    heads : int or sequence of int, optional
        By default all.
    """
    where = EVERYWHERE if heads is None else (slice(None), heads)
    return {f"{attention}.probs": Overwrite(_one_by_number_of_keys, where)}  # (B, heads, N_q, N_k)


def patch(activations: Activations, names: str | Iterable[str] = "*", where: Any = EVERYWHERE) -> dict[str, Edit]:
    """Put recorded values in place, such as those of another picture.

    Parameters
    ----------
    activations : Activations
        Of a batch of the same size, or of one picture, for every picture of the batch.
    names : str or iterable of str, optional
        Names or patterns of recorded values; by default all.
    where : index, optional
        Only a part of the values: ``(slice(None), 5)`` is token 5 of a value (B, N, C).

    Examples
    --------
    >>> import levit_ref, numpy as np
    >>> model = levit_ref.create_model("levit_250k_32px", num_classes=10).eval()
    >>> cat, dog = np.random.default_rng(0).standard_normal((2, 1, 3, 32, 32)).astype(np.float32)
    >>> logits_of_cat, acts = levit_ref.run_with_activations(model, cat, ["stages.0.blocks.0.resid_post"])
    >>> logits, _ = levit_ref.run_with_activations(model, dog, [], edits=patch(acts))
    >>> bool((logits == logits_of_cat).all())
    True
    """
    return {name: Overwrite(activations[name][where], where) for name in select(names, list(activations))}


def _one_by_number_of_keys(probs: Array) -> float:
    return 1 / probs.shape[-1]


def edited(name: str, edit: Edit, value: Array) -> Array:
    """The value that flows on in place of ``value`` under the name ``name``.

    Raises
    ------
    TypeError, ValueError
        If the edit returns no array, or one of another shape, or an index does not fit; the message has the name.
    """
    try:
        result = edit(value.copy(order="K"))
    except (IndexError, ValueError) as error:
        raise ValueError(f"the edit of {name}, which has shape {value.shape}: {error}") from error
    if not isinstance(result, np.ndarray):
        raise TypeError(f"the edit of {name} must return an array, got {type(result).__name__}")
    if result.shape != value.shape:
        raise ValueError(f"the edit of {name} returned shape {result.shape}, expected {value.shape}")
    return result.astype(value.dtype, copy=False)
