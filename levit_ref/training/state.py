"""The full state of a run in one file: everything that decides about the next bit."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from levit_ref.checkpoints import Checkpoint, CheckpointError, pack, read_file, write_file
from levit_ref.nn import LeViT
from levit_ref.settings import declarations
from levit_ref.training.config import TrainConfig
from levit_ref.training.ema import Ema
from levit_ref.training.health import check_finite
from levit_ref.training.optimizer import AdamW
from levit_ref.training.step import StepResult


@dataclass
class RunState:
    """Where a run stands.

    There is no generator among it: the randomness of a step is a function of seed, epoch and step alone.

    Attributes
    ----------
    epoch : int
        Of the next step, counted from 0.
    epoch_step : int
        Steps done in that epoch.
    step : int
        Steps done in all.
    loss_sum, correct, seen
        Over the pictures of this epoch so far: sum of the losses, correct answers, count.
    best_accuracy : float or None
        Of all evaluations so far.
    seconds : float
        Time spent, over all sessions of the run.
    """

    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    best_accuracy: float | None = None
    seconds: float = 0.0

    def add(self, result: StepResult) -> None:
        """Count a finished step."""
        self.loss_sum += result.loss * result.pictures
        self.correct += result.correct
        self.seen += result.pictures
        self.step += 1
        self.epoch_step += 1

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.epoch_step, self.loss_sum, self.correct, self.seen = 0, 0.0, 0, 0


def save_state(
    path: str | os.PathLike[str],
    state: RunState,
    config: TrainConfig,
    checkpoint: Checkpoint,
    optimizer: AdamW,
    ema: Ema | None,
) -> None:
    """Write everything to ``path``, atomically; a file that :func:`levit_ref.load_checkpoint` reads too.

    Parameters
    ----------
    path : path-like
    state, config, checkpoint, optimizer, ema
        What makes up the run; ``checkpoint`` is its model, and what is known about it.

    Raises
    ------
    NonFiniteError
        If any array holds a NaN or an infinity. The file stays as it was: a good checkpoint is never replaced
        by a bad one.
    """
    tensors, metadata = pack(checkpoint)
    tensors |= {"optimizer.m": optimizer.m, "optimizer.v": optimizer.v}
    if ema is not None:
        tensors |= {"ema.data": ema.data, "ema.buffers": ema.buffers}
    check_finite(tensors, f"step {state.step}: not saved")
    training = {
        "config": config.to_dict(),
        "state": dataclasses.asdict(state),
        "optimizer_steps": optimizer.steps,
        "ema_updates": None if ema is None else ema.updates,
    }
    write_file(path, tensors, metadata | {"training": training})


def load_state(
    path: str | os.PathLike[str], config: TrainConfig, model: LeViT, optimizer: AdamW, ema: Ema | None
) -> RunState:
    """Bring model, optimiser and average to where :func:`save_state` left them; returns the state.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the file is missing, damaged, no training state, or of a run with other settings (they are listed).
    """
    tensors, metadata = read_file(path)
    training = metadata.get("training")
    if not isinstance(training, dict):
        raise CheckpointError(f"{path}: holds a model but no training state; only last.safetensors can be resumed")
    _check_same_config(path, training["config"], config)
    arrays = _by_owner(tensors)
    try:
        model.load_state_dict(arrays["model"])
        optimizer.load_state_dict({"steps": training["optimizer_steps"], **arrays["optimizer"]})
        if ema is not None:
            ema.load_state_dict({"updates": training["ema_updates"], **arrays["ema"]})
        return RunState(**training["state"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the training state does not fit this run: {error}") from error


def _check_same_config(path: str | os.PathLike[str], saved: dict[str, Any], config: TrainConfig) -> None:
    now = config.to_dict()
    if now["epochs"] > saved["epochs"]:  # a run may be prolonged; the learning rate then follows the longer schedule
        now["epochs"] = saved["epochs"]
    may_differ = {name for name, declared in declarations(TrainConfig).items() if not declared.influences_result}
    names = sorted((saved.keys() | now.keys()) - may_differ)
    different = [f"{n} = {saved.get(n)} there, {now.get(n)} now" for n in names if saved.get(n) != now.get(n)]
    if different:
        raise CheckpointError(f"{path}: is of a run with other settings: {'; '.join(different)}")


def _by_owner(tensors: dict[str, npt.NDArray[Any]]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Arrays by the part before the first dot (model, optimizer, ema), under the names that the owner knows."""
    owners: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for name, array in tensors.items():
        owner, _, rest = name.partition(".")
        owners.setdefault(owner, {})[rest] = array
    return owners
