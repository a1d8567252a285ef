"""What a run tells while it runs: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Progress of a run, on a terminal as a bar over all steps, elsewhere as a line now and then.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to print; standard output by default. Whether it is a terminal decides about the form.
    quiet : bool
        Print nothing at all.
    line_every_seconds : float
        Within an epoch, at most one plain line in this time.
    """

    def __init__(
        self, console: Console | None = None, *, quiet: bool = False, line_every_seconds: float = 30.0
    ) -> None:
        self.console = console or Console(highlight=False)
        self.quiet = quiet
        self.line_every_seconds = line_every_seconds
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._steps = 0
        self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def start(self, steps: int, done: int) -> None:
        """Begin, after ``done`` of all ``steps`` of the run."""
        self._steps = steps
        if self.console.is_terminal and not self.quiet:
            columns: list[ProgressColumn | str] = [
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                TimeRemainingColumn(),
            ]
            # drawing takes half a millisecond of a core that is training: four times a second is often enough
            self._bar = Bar(*columns, console=self.console, expand=True, refresh_per_second=4)
            self._task = self._bar.add_task("training", total=steps, completed=done, status="")
            self._bar.start()

    def step(self, step: int, epoch: int, loss: float, accuracy: float, images_per_second: float) -> None:
        """Report a finished step; ``loss`` and ``accuracy`` are the means of the epoch so far."""
        status = f"loss {loss:.3f}  acc {accuracy:6.2%}  {images_per_second:,.0f} images/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=f"epoch {epoch}", status=status)
        elif time.monotonic() - self._last_line >= self.line_every_seconds:
            self.say(f"epoch {epoch}  step {step}/{self._steps}  {status}")

    def epoch(self, record: Mapping[str, Any], epochs: int, eta_seconds: float) -> None:
        """Report a finished epoch from its line of metrics."""
        parts = [
            f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}",
            f"train loss {record['train_loss']:.3f} acc {record['train_accuracy']:6.2%}",
        ]
        if record["test_accuracy"] is not None:
            parts.append(f"test loss {record['test_loss']:.3f} acc {record['test_accuracy']:6.2%}")
        if record["ema_test_accuracy"] is not None:
            parts.append(f"ema acc {record['ema_test_accuracy']:6.2%}")
        parts.append(f"{record['images_per_second']:,.0f} images/s")
        parts.append(f"{_clock(eta_seconds)} left")
        self.say("  ".join(parts))

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._last_line = time.monotonic()
        if not self.quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
