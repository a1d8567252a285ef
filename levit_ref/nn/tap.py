"""The recorder that a forward pass takes: looking inside is a part of the one forward pass, not a hook on it.

A tap is called as ``value = tap("probs", value)`` wherever a value has a name, and what it returns is what flows on. It
may return another array; it never changes the one that it was given.
``tap.scope("attn")`` is the tap of a component: its names are prefixed. :data:`no_tap` looks at nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeAlias

from levit_ref.ops import Array, untapped


class Tap(Protocol):
    """What a forward (or backward) pass expects of a recorder."""

    def __call__(self, name: str, value: Array) -> Array:
        """See ``value`` under ``name``, and return what is to flow on (usually ``value`` itself)."""

    def scope(self, name: str) -> Tap:
        """The tap of the component ``name``."""


no_tap: Tap = untapped

Taps: TypeAlias = Mapping[str, tuple[str, str]]
"""What a component shows to its tap: axes (see :class:`levit_ref.nn.ActivationSpec`) and meaning by name."""


class FunctionTap:
    """A tap that calls ``function(full_name, value)``; a result that is not None replaces the value.

    Parameters
    ----------
    function : callable
    prefix : str
        Dotted name of the component whose tap this is.

    Examples
    --------
    >>> shapes = {}
    >>> tap = FunctionTap(lambda name, value: shapes.__setitem__(name, value.shape))
    """

    def __init__(self, function: Callable[[str, Array], Array | None], prefix: str = "") -> None:
        self.function = function
        self.prefix = prefix

    def __call__(self, name: str, value: Array) -> Array:
        """Call the function with the full name."""
        replaced = self.function(f"{self.prefix}{name}", value)
        return value if replaced is None else replaced

    def scope(self, name: str) -> FunctionTap:
        """The same function, with ``name.`` added to the prefix."""
        return FunctionTap(self.function, f"{self.prefix}{name}.")


class SelectiveTap:
    """A tap that sees the given names only, and is :data:`no_tap` for every component in which none of them lies.

    So a backend may fuse whatever nobody looks into.

    Parameters
    ----------
    function : callable
        As :class:`FunctionTap` calls it.
    names : collection of str
        Full names.

    Examples
    --------
    >>> tap = SelectiveTap(print, ["stages.0.blocks.1.attn.probs"])
    >>> tap.scope("stem") is no_tap
    True
    """

    def __init__(self, function: Callable[[str, Array], Array | None], names: Collection[str]) -> None:
        self.function = function
        self.names = frozenset(names)
        self.prefix = ""
        self._components = frozenset(
            name[:dot] for name in self.names for dot in range(len(name)) if name[dot] == "."
        )  # every component that has one of the names inside

    def __call__(self, name: str, value: Array) -> Array:
        """Call the function, if the full name is one of those wanted."""
        name = f"{self.prefix}{name}"
        replaced = self.function(name, value) if name in self.names else None
        return value if replaced is None else replaced

    def scope(self, name: str) -> Tap:
        """The tap of the component ``name``."""
        name = f"{self.prefix}{name}"
        if name not in self._components:
            return no_tap
        inside = copy.copy(self)
        inside.prefix = f"{name}."
        return inside
