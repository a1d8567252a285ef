"""A session of a run: everything around the steps. Loading, evaluating, recording, saving, ending in good order."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from levit_ref.checkpoints import About, Checkpoint, save_checkpoint
from levit_ref.evaluation import EvalResult, NonFiniteLogitsError, evaluate
from levit_ref.training.config import TrainConfig
from levit_ref.training.health import NonFiniteError, first_nonfinite
from levit_ref.training.metrics import MetricsLog
from levit_ref.training.parts import Datasets, build
from levit_ref.training.plots import plot_confusion, plot_curves
from levit_ref.training.progress import Progress
from levit_ref.training.run_folder import RunFolder
from levit_ref.training.signals import StopRequest, exit_status
from levit_ref.training.state import RunState, load_state, save_state

PLOT_EVERY_SECONDS = 30.0
"""Drawing takes half a second: for short epochs not after each."""


@dataclass(frozen=True)
class TrainResult:
    """How a run, or a part of one, ended.

    Attributes
    ----------
    signal : int or None
        The signal that ended it early; None if all epochs are done.
    epochs, steps : int
        Finished so far.
    best_accuracy : float or None
        On the test pictures, between 0 and 1.
    seconds : float
        Over all sessions of the run.
    """

    signal: int | None
    epochs: int
    steps: int
    best_accuracy: float | None
    seconds: float

    @property
    def exit_status(self) -> int:
        """0, or 130 after Ctrl-C, or 143 after SIGTERM."""
        return exit_status(self.signal)


class _StopRequestedError(Exception):
    """A signal came during an evaluation."""


class Session:
    """What one process does for a run.

    :func:`levit_ref.training.train` makes the folder, loads the pictures and runs this.

    Parameters
    ----------
    config : TrainConfig
    folder : RunFolder
        Exists; a ``last.safetensors`` in it is continued from.
    datasets : Datasets
    progress : Progress, optional
    resume_command : str
        What to tell the user to type after an interruption.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        datasets: Datasets,
        *,
        progress: Progress | None = None,
        resume_command: str = "",
    ) -> None:
        self.config, self.folder = config, folder
        self.progress = progress or Progress()
        self.resume_command = resume_command
        self.parts = build(config, datasets)
        self.step = self.parts.step
        self.state = RunState()
        self.metrics = MetricsLog(folder.metrics)
        self._about = About(self.parts.loader.preprocessing, datasets.train.classes, config.dataset)
        self._stop = StopRequest()
        self._clock = self._last_save = time.monotonic()
        self._last_plot = -math.inf

    # --- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> TrainResult:
        """Train until all epochs are done or a signal comes.

        Raises
        ------
        NonFiniteError
            If the loss is NaN or infinite. The last good checkpoint stays.
        """
        self._restore()
        config, state = self.config, self.state
        self._clock = time.monotonic() - state.seconds  # so that _seconds() goes on where the checkpoint was written
        # an overflow is found where it matters, at the loss, and explained there
        with np.errstate(all="ignore"), self._stop, self.progress:
            self.progress.start(config.epochs * len(self.parts.loader), state.step)
            while state.epoch < config.epochs:
                try:
                    self._epoch()
                    self._finish_epoch()
                except _StopRequestedError:
                    self._save_last()
                    hint = f"; continue with: {self.resume_command}" if self.resume_command else ""
                    self.progress.say(f"stopped after step {state.step}, saved to {self.folder.last}{hint}")
                    break
                except NonFiniteError as error:
                    raise NonFiniteError(f"{error}; {self._kept()}") from error
        # a signal that came too late to stop anything is none
        number = self._stop.signal if state.epoch < config.epochs else None
        return TrainResult(number, state.epoch, state.step, state.best_accuracy, self._seconds())

    def _restore(self) -> None:
        """Go on where the last checkpoint was written, if there is one; records of later epochs are made again."""
        if self.folder.last.exists():
            self.state = load_state(self.folder.last, self.config, self.step.model, self.step.optimizer, self.step.ema)
        self.metrics.read()
        self.metrics.trim(self.state.epoch)

    def _epoch(self) -> None:
        """The remaining steps of the present epoch."""
        state = self.state
        self._epoch_start, self._epoch_seen = time.monotonic(), 0
        self.step.model.train()
        for batch in self.parts.loader.epoch(state.epoch, start_step=state.epoch_step):
            self._check_stop()  # here, where also a signal during the evaluation before is noticed
            state.add(self.step(batch, state.step))
            self._epoch_seen += len(batch.images)
            self.progress.step(
                state.step, state.epoch + 1, state.loss_sum / state.seen, state.correct / state.seen, self._speed()
            )
            if self._checkpoint_is_due():
                self._save_last()

    def _checkpoint_is_due(self) -> bool:
        seconds, steps = self.config.checkpoint_every_seconds, self.config.checkpoint_every_steps
        by_time = seconds > 0 and time.monotonic() - self._last_save >= seconds
        return by_time or (steps > 0 and self.state.step % steps == 0)

    def _kept(self) -> str:
        """What is left after a disaster."""
        return f"{self.folder.last} holds the last good state" if self.folder.last.exists() else "nothing was saved yet"

    # --- the end of an epoch ---------------------------------------------------------------------------------------

    def _finish_epoch(self) -> None:
        """Evaluate if it is time, record, save. Everything before the last line is done again after a crash."""
        state, config = self.state, self.config
        number = state.epoch + 1
        is_last = number == config.epochs
        speed = self._speed()
        test = averaged = None
        if is_last or number % config.eval_every == 0:
            test = self._evaluate()
            if self.step.ema is not None:
                with self.step.ema.applied():
                    averaged = self._evaluate()
        record = {
            "epoch": number,
            "step": state.step,
            "train_loss": state.loss_sum / state.seen,
            "train_accuracy": state.correct / state.seen,
            "test_loss": None if test is None else test.loss,
            "test_accuracy": None if test is None else test.accuracy,
            "ema_test_loss": None if averaged is None else averaged.loss,
            "ema_test_accuracy": None if averaged is None else averaged.accuracy,
            "lr": self.step.schedule(state.step - 1),
            "images_per_second": round(speed, 1),
            "seconds": round(self._seconds(), 1),
        }
        self.metrics.append(record)
        if test is not None:
            self._keep_best(test, averaged)
        if is_last or time.monotonic() - self._last_plot >= PLOT_EVERY_SECONDS:
            self._plot(test if averaged is None else averaged)
        state.next_epoch()
        self._save_last()
        self.progress.epoch(record, config.epochs, self._seconds() * (config.epochs / number - 1))

    def _evaluate(self) -> EvalResult:
        model = self.step.model
        try:
            return evaluate(
                model,
                self.parts.test_set,
                preprocessing=self._about,
                batch_size=self.config.batch_size,
                on_batch=lambda *_: self._check_stop(),
            )
        except NonFiniteLogitsError:
            where = first_nonfinite(model.state_dict().items()) or "an activation, though every weight is finite"
            raise NonFiniteError(f"epoch {self.state.epoch + 1}: the test loss is nan; not finite is {where}") from None

    def _keep_best(self, test: EvalResult, averaged: EvalResult | None) -> None:
        """Save the model, own or averaged weights, if it is better than all before."""
        step, state = self.step, self.state
        use_average = averaged is not None and averaged.accuracy >= test.accuracy
        accuracy = averaged.accuracy if use_average and averaged is not None else test.accuracy
        if state.best_accuracy is not None and accuracy <= state.best_accuracy:
            return
        if use_average and step.ema is not None:
            with step.ema.applied():
                save_checkpoint(self._checkpoint(accuracy), self.folder.best)
        else:
            save_checkpoint(self._checkpoint(accuracy), self.folder.best)
        state.best_accuracy = accuracy

    def _plot(self, test: EvalResult | None) -> None:
        plot_curves(self.folder.curves, self.metrics.records)
        if test is not None:
            plot_confusion(self.folder.confusion, test.confusion, self._about.class_names)
        self._last_plot = time.monotonic()

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _save_last(self) -> None:
        step, state = self.step, self.state
        state.seconds = self._seconds()
        save_state(
            self.folder.last,
            state,
            self.config,
            self._checkpoint(self._latest_accuracy()),
            step.optimizer,
            step.ema,
        )
        self._last_save = time.monotonic()

    def _checkpoint(self, accuracy: float | None) -> Checkpoint:
        return Checkpoint(self.step.model, replace(self._about, accuracy=accuracy))

    def _latest_accuracy(self) -> float | None:
        tested = [record["test_accuracy"] for record in self.metrics.records if record["test_accuracy"] is not None]
        return tested[-1] if tested else None

    def _check_stop(self) -> None:
        if self._stop:
            raise _StopRequestedError

    def _seconds(self) -> float:
        return time.monotonic() - self._clock

    def _speed(self) -> float:
        """Pictures a second in this epoch, in this session."""
        return self._epoch_seen / max(time.monotonic() - self._epoch_start, 1e-9)
