"""The cost ledger: what every component costs by count, and what it takes by measurement.

Parameters and multiply-adds are counted, see :mod:`levit_ref.inspection.cost`. Bytes and time are measured by taps on a
forward pass in inference. A tap hears of every named value the moment it is there, so the time since it last heard of
one is the new one's. Everything is charged to some component: whatever happens between two of them (an activation of
the stem, a residual sum, the mean over the tokens) to the one before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from levit_ref.inspection.cost import Cost, component_costs
from levit_ref.nn.levit import LeViT
from levit_ref.nn.tap import FunctionTap
from levit_ref.ops import Array

Observer = Callable[[str, Array], None]


@dataclass(frozen=True)
class LedgerRow(Cost):
    """A component's cost with what was measured of it."""

    activation_bytes: int
    """Of all values that the component computes for one image; a view of another value takes none."""
    microseconds: float | None = None
    """Median time for one batch; None if it was not measured."""


@dataclass(frozen=True)
class Ledger:
    """What a model costs.

    Attributes
    ----------
    rows : tuple of LedgerRow
        The components in the order of execution.
    batch_size : int or None
        Of the batches that were timed.
    microseconds : float or None
        Median time of the whole forward pass: not the sum of the components' medians.
    """

    rows: tuple[LedgerRow, ...]
    batch_size: int | None = None
    microseconds: float | None = None

    @property
    def parameters(self) -> int:
        """Trainable numbers of the model."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, as the official code counts them."""
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Of all values that are computed for one image. They are not all in memory at one time."""
        return sum(row.activation_bytes for row in self.rows)


def cost_ledger(model: LeViT, *, batch_size: int | None = None, repetitions: int = 10) -> Ledger:
    """Count, measure and, on request, time every component of a model.

    The model's mode, running statistics and gradients stay as they are; what a backward pass would need of an
    earlier forward pass is lost, as with every new forward pass.

    Parameters
    ----------
    model : LeViT
    batch_size : int, optional
        Time batches of so many images; without it nothing is timed.
    repetitions : int
        Of which the median is taken, after one forward pass that does not count.

    Returns
    -------
    ledger : Ledger

    Raises
    ------
    ValueError
        If ``batch_size`` or ``repetitions`` is not positive.
    """
    costs = component_costs(model)
    sizes = _activation_bytes(model, costs)
    rows = [LedgerRow(**vars(cost), activation_bytes=sizes[cost.name]) for cost in costs]
    if batch_size is None:
        return Ledger(tuple(rows))
    for name, value in ("batch_size", batch_size), ("repetitions", repetitions):
        if value < 1:
            raise ValueError(f"cost_ledger: {name} must be at least 1, got {value}")
    times, total = _microseconds(model, costs, batch_size, repetitions)
    timed = tuple(replace(row, microseconds=times[row.name]) for row in rows)
    return Ledger(timed, batch_size, total)


def _activation_bytes(model: LeViT, costs: Sequence[Cost]) -> dict[str, int]:
    sizes = {cost.name: 0 for cost in costs}
    owners: dict[int, Array] = {}  # holds them alive, so that no two have the same id

    def weigh(component: str, value: Array) -> None:
        owner = _owner(value)
        if id(owner) not in owners:
            owners[id(owner)] = owner
            sizes[component] += value.nbytes

    _observe(model, _random_images(model, 1), sizes, weigh)
    return sizes


def _microseconds(
    model: LeViT, costs: Sequence[Cost], batch_size: int, repetitions: int
) -> tuple[dict[str, float], float]:
    """Median microseconds of each component, and of the whole."""
    images = _random_images(model, batch_size)
    records: list[dict[str, float]] = []
    for _ in range(1 + repetitions):
        record = {cost.name: 0.0 for cost in costs}
        records.append(record)
        _observe(model, images, record, _stopwatch(record))
    del records[0]  # the first pass also pays for memory that the system has not handed out yet
    medians = {cost.name: statistics.median(record[cost.name] for record in records) for cost in costs}
    return medians, statistics.median(sum(record.values()) for record in records)


def _stopwatch(record: dict[str, float]) -> Observer:
    """An observer that charges the time since its last call, in microseconds, to the component it is called for."""
    before = time.perf_counter()

    def charge(component: str, value: Array) -> None:
        nonlocal before
        now = time.perf_counter()
        record[component] += 1e6 * (now - before)
        before = time.perf_counter()

    return charge


def _observe(model: LeViT, images: Array, components: Collection[str], observer: Observer) -> None:
    """Run the model in inference; every value on the way is shown to ``observer`` with the component it belongs to."""
    current = next(iter(components))

    def see(name: str, value: Array) -> None:
        nonlocal current
        if name == "images":
            return  # given, not computed
        current = _component_of(name, components) or current
        observer(current, value)

    with model.inference():
        model.forward(images, FunctionTap(see))


def _component_of(name: str, components: Collection[str]) -> str | None:
    """The component that has the value ``name`` inside, or is it; None for a value between components."""
    while name not in components:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def _owner(value: Array) -> Array:
    """The array whose memory ``value`` is a view of, or ``value`` itself."""
    while isinstance(value.base, np.ndarray):
        value = value.base
    return value


def _random_images(model: LeViT, batch_size: int) -> Array:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch_size, 3, *model.image_size)).astype(model.dtype)
