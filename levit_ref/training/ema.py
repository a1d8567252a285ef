"""Exponential moving average of the weights, and evaluating with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from levit_ref import functional as F
from levit_ref.training.flat import FloatArray, check_flat


class HasFlatArrays(Protocol):
    """What the average needs of a model."""

    flat_data: FloatArray
    """All parameters, (P,)."""
    flat_buffers: FloatArray
    """All running statistics, (S,)."""


class Ema:
    r"""Exponential moving average of the parameters and the running statistics of a model.

    After update number t = 1, 2, ...::

        ē <- ē + (1 - d) (θ - ē),    d = min(decay, (1 + t) / (10 + t)) with warm-up, else decay

    The running statistics are averaged with the weights they belong to; the counters of the norms, which no
    forward pass reads, are not.

    Parameters
    ----------
    model : object with ``flat_data`` and ``flat_buffers``
        Kept by reference; its present weights are the start of the average.
    decay : float
        In [0, 1). The official recipe has 0.99996, for more than a million steps.
    warmup : bool
        Let short runs forget the random start: d is 2/11 at first and reaches 0.999 after 9,000 updates.

    Attributes
    ----------
    data, buffers : ndarray, (P,) and (S,)
        The averages.
    updates : int
    """

    def __init__(self, model: HasFlatArrays, decay: float, *, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Ema: decay must be in [0, 1), got {decay}")
        self.model, self.decay, self.warmup = model, decay, warmup
        self.updates = 0
        self.data = model.flat_data.copy()
        self.buffers = model.flat_buffers.copy()
        self._is_applied = False

    def update(self) -> None:
        """Move the average towards the present weights of the model."""
        self._check_not_applied("update")
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        F.move_average(self.data, self.model.flat_data, 1 - decay)
        F.move_average(self.buffers, self.model.flat_buffers, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model holds the averaged weights; after, its own again, whatever happened inside.

        The weights trade places with the average, so the average itself is out of reach inside: ``update``,
        ``state_dict`` and entering again raise ``RuntimeError``.
        """
        self._check_not_applied("applied")
        self._swap()
        self._is_applied = True
        try:
            yield
        finally:
            self._is_applied = False
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Copies: ``updates`` (int), ``data`` (P,), ``buffers`` (S,)."""
        self._check_not_applied("state_dict")
        return {"updates": self.updates, "data": self.data.copy(), "buffers": self.buffers.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; shapes and dtypes must match."""
        self._check_not_applied("load_state_dict")
        if set(state) != {"updates", "data", "buffers"}:
            raise ValueError(f"Ema: a state has the keys updates, data, buffers; got {', '.join(sorted(state))}")
        check_flat("Ema: state data", state["data"], like=self.data)
        check_flat("Ema: state buffers", state["buffers"], like=self.buffers)
        self.updates = int(state["updates"])
        self.data[:] = state["data"]
        self.buffers[:] = state["buffers"]

    def _swap(self) -> None:
        for average, own in (self.data, self.model.flat_data), (self.buffers, self.model.flat_buffers):
            kept = average.copy()
            average[...] = own
            own[...] = kept

    def _check_not_applied(self, method: str) -> None:
        if self._is_applied:
            raise RuntimeError(f"Ema.{method}() inside Ema.applied(): the model holds the averaged weights now")
