"""The names in a checkpoint file of this package, which may hold an optimiser's arrays besides the model's."""

from __future__ import annotations

from collections.abc import Iterable

from levit_ref.nn import LeViTConfig

PREFIX = "model."
"""Start of the names of a model's arrays."""


def recognises(names: Iterable[str]) -> bool:
    """Whether some of these names are of a checkpoint file."""
    return any(name.startswith(PREFIX) for name in names)


def name_of(name: str, config: LeViTConfig) -> str:
    """The name with the prefix of the model."""
    return PREFIX + name
