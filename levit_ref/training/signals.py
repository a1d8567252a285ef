"""Ctrl-C and SIGTERM as a request that the training loop reads when it suits it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Context manager in which SIGINT (Ctrl-C) and SIGTERM set :attr:`signal` and do nothing else.

    The loop looks at it between two steps, saves and ends. A second Ctrl-C raises ``KeyboardInterrupt`` at once, for
    whoever does not want to wait. Signal handlers belong to the main thread: elsewhere the context does nothing.

    Attributes
    ----------
    signal : int or None
        Number of the first signal received.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal = number


def exit_status(number: int | None) -> int:
    """Exit status of a process that ended by request: 128 + the signal (130 for Ctrl-C, 143 for SIGTERM), else 0."""
    return 0 if number is None else 128 + number
