"""The catalogue of a network's activations: every value that a tap sees, with its axes, shape, meaning and bytes.

Names, order, shapes and dtypes are read off a forward pass of one image. Axes and meaning stand where the value is
made, in the ``taps`` of its component; the maps of its tokens are those that the components carry.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from levit_ref.nn.attention import BiasedAttention
from levit_ref.nn.blocks import Downsample, Stage
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.module import Module, Parameter
from levit_ref.nn.stem import Stem
from levit_ref.nn.tap import FunctionTap
from levit_ref.ops import Array

if TYPE_CHECKING:
    from levit_ref.nn.levit import LeViT

TOKEN_AXES = ("N", "N_q", "N_k")
"""Axes that run over the tokens of a map, row by row."""


@dataclass(frozen=True)
class ActivationSpec:
    """One value of the forward pass.

    Attributes
    ----------
    name : str
        Dotted, under the scheme of the parameters.
    axes : tuple of str
        ``B`` images, ``C`` channels, ``H`` rows, ``W`` columns, ``N`` tokens (``N_q`` queries, ``N_k`` keys),
        ``heads``, ``D`` key channels and ``E`` value channels of one head, ``classes``.
    shape : tuple of int
    dtype : numpy.dtype
    meaning : str
    grids : tuple of TokenGrid
        The map of every axis of tokens, in the order of the axes; one for ``H`` and ``W``; empty without a map.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    meaning: str
    grids: tuple[TokenGrid, ...] = ()

    @property
    def grid(self) -> tuple[int, ...] | None:
        """The shape with every axis of tokens unfolded to rows and columns, and channels last; None without a map."""
        if not self.grids:
            return None
        if self.axes[-1] == "W":
            return (self.shape[0], *self.grids[0].shape, self.shape[1])
        grids, unfolded = iter(self.grids), tuple[int, ...]()
        for axis, size in zip(self.axes, self.shape, strict=True):
            unfolded += next(grids).shape if axis in TOKEN_AXES else (size,)
        return unfolded

    @property
    def nbytes(self) -> int:
        """Memory of the value in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def as_grid(self, value: Array) -> Array:
        """``value``, of this specification, laid out as a map: a view.

        Tokens (B, N, C) become (B, H, W, C), images (B, C, H, W) too, and attention (B, heads, N_q, N_k) becomes
        (B, heads, H_q, W_q, H_k, W_k).

        Raises
        ------
        ValueError
            If the value is not spread over a map, as the pooled features and the logits.
        """
        if self.grid is None:
            raise ValueError(f"{self.name} has axes ({', '.join(self.axes)}): it is not spread over a map")
        return np.moveaxis(value, 1, -1) if self.axes[-1] == "W" else value.reshape(self.grid)

    def for_batch(self, batch_size: int) -> ActivationSpec:
        """The same value in a batch of so many images."""
        if self.axes[0] != "B":
            return self
        return replace(self, shape=(batch_size, *self.shape[1:]))


def activation_specs(model: LeViT, batch_size: int = 1) -> tuple[ActivationSpec, ...]:
    """Every value that a forward pass of ``model`` shows to a tap, see :meth:`LeViT.activation_specs`."""
    if batch_size < 1:
        raise ValueError(f"activation_specs: batch_size must be at least 1, got {batch_size}")
    return tuple(spec.for_batch(batch_size) for spec in catalogue(model).values())


def catalogue(model: LeViT) -> Mapping[str, ActivationSpec]:
    """Every value of a forward pass of one image, by name, in the order of execution.

    Traced once for every structure that a model has had: the trace is a forward pass.
    """
    structure = _structure(model)
    known = _catalogues.get(model)
    if known is None or known[0] != structure:
        known = _catalogues[model] = (structure, _trace(model))
    return known[1]


_catalogues: WeakKeyDictionary[LeViT, tuple[Any, Mapping[str, ActivationSpec]]] = WeakKeyDictionary()


def _structure(model: LeViT) -> Any:
    """All that names, shapes and dtypes of the activations depend on."""
    components = [
        (name, type(module), [value.shape for value in vars(module).values() if isinstance(value, Parameter)])
        for name, module in model.named_modules()
    ]
    return model.image_size, model.dtype, components


def _trace(model: LeViT) -> Mapping[str, ActivationSpec]:
    modules = dict(model.named_modules())
    specs: dict[str, ActivationSpec] = {}

    def see(name: str, value: Array) -> None:
        if name in specs:
            raise LookupError(f"two values have the name {name}")
        axes, meaning = _described(modules, name)
        specs[name] = ActivationSpec(name, axes, value.shape, value.dtype, meaning, _grids(modules, name, axes))
        grid = specs[name].grid
        if grid is not None and math.prod(grid) != value.size:
            raise LookupError(f"{name} has shape {value.shape}, which does not fit the map of its component: {grid}")

    with model.inference():
        model.forward(np.zeros((1, 3, *model.image_size), model.dtype), FunctionTap(see))
    return MappingProxyType(specs)


def _described(modules: dict[str, Module], name: str) -> tuple[tuple[str, ...], str]:
    """Axes and meaning of the value ``name``, from the component that shows it to its tap."""
    component, _, own_name = name.rpartition(".")
    taps = modules[component].taps
    key = own_name if own_name in taps else own_name.rstrip("0123456789")
    if key not in taps:
        kind = type(modules[component]).__name__
        raise LookupError(f"{kind} shows its tap a value {own_name!r} ({name}) that {kind}.taps does not describe")
    axes, meaning = taps[key]
    return tuple(axes.split()), meaning


def _grids(modules: Mapping[str, Module], name: str, axes: tuple[str, ...]) -> tuple[TokenGrid, ...]:
    """The maps that the axes of the value ``name`` run over."""
    if axes[-1] == "W":
        return (_map_of(modules, name, "H"),)
    return tuple(_map_of(modules, name, axis) for axis in axes if axis in TOKEN_AXES)


def _map_of(modules: Mapping[str, Module], name: str, axis: str) -> TokenGrid:
    """The map of one axis: that of the innermost component around the value which knows its map."""
    component, _, inside = name.rpartition(".")
    while component:
        module = modules.get(component)  # none for the list "blocks"
        if isinstance(module, BiasedAttention):
            of_queries = axis == "N_q" or (axis == "N" and inside.startswith(("q.", "proj.")))
            return module.queries if of_queries else module.keys
        if isinstance(module, Downsample):
            attention = module.attn_downsample
            return attention.keys if inside == "resid_pre" else attention.queries
        if isinstance(module, Stage):
            return module.grid
        if isinstance(module, Stem):
            number = re.search(r"\d+", inside)  # of the convolution
            return module.grids[int(number[0])] if number else module.grid
        component, _, outer = component.rpartition(".")
        inside = f"{outer}.{inside}"
    stem = modules["stem"]
    assert isinstance(stem, Stem)
    return stem.grids[0] if name == "images" else stem.grid
