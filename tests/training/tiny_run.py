"""A whole training run in a second: random pictures, a network of a few thousand weights.

Also a program, for the tests that kill it: ``python -m tests.training.tiny_run FOLDER [--resume] [--die-at N]``.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

import numpy as np

from levit_ref import configs
from levit_ref.data import ArrayDataset
from levit_ref.nn import LeViTConfig, StemConv
from levit_ref.training import Datasets, Progress, TrainConfig, TrainResult, train

VARIANT = LeViTConfig(
    "tiny", (16, 24), 8, (2, 3), (1, 1), (StemConv(8), StemConv(16)), image_size=16, distillation=False, drop_path=0.1
)
CLASSES = ("red", "green", "blue")
SETTINGS = {
    "model": "tiny",
    "dataset": "shapes",
    "epochs": 3,
    "batch_size": 16,
    "warmup_epochs": 0.5,
    "lr": 5e-3,
    "ema_decay": 0.95,
    "mixup": 0.2,
    "checkpoint_every_steps": 3,
}


def register(registry: dict[str, LeViTConfig] = configs.VARIANTS) -> None:
    """Make the variant known by its name."""
    registry[VARIANT.name] = VARIANT


def pictures(count: int, seed: int) -> ArrayDataset:
    """Noise with one channel brighter: red, green or blue."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 200, (count, 3, 16, 16), dtype=np.uint8)
    images[np.arange(count), labels] += 50
    return ArrayDataset(images, labels, CLASSES)


def datasets() -> Datasets:
    """100 pictures to train on, 50 to test on."""
    return Datasets(pictures(100, seed=1), pictures(50, seed=2))


def tiny_config(**changes: object) -> TrainConfig:
    """Settings of the run, some of them changed."""
    return TrainConfig(**{**SETTINGS, **changes})


def run(folder: Path, *, resume: bool = False, progress: Progress | None = None, **changes: object) -> TrainResult:
    """Train in ``folder``; the variant must be registered."""
    return train(
        tiny_config(**changes), folder, resume=resume, datasets=datasets(), progress=progress or Progress(quiet=True)
    )


class StepPrinter(Progress):
    """Prints a line for every step, and takes its time, so that whoever reads it can kill at a step of their choice."""

    def step(self, step: int, *_: object) -> None:
        print("step", step, flush=True)
        time.sleep(0.05)


def die_at_replace(count: int) -> None:
    """Let this process be killed at the moment of renaming its ``count``-th last.safetensors."""
    real, seen = os.replace, 0

    def replace(source: str, target: str) -> None:
        nonlocal seen
        seen += Path(target).name == "last.safetensors"
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    os.replace = replace


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die-at", type=int, default=0)
    arguments = parser.parse_args()
    register()
    if arguments.die_at:
        die_at_replace(arguments.die_at)
    result = run(arguments.folder, resume=arguments.resume, progress=StepPrinter(quiet=False))
    raise SystemExit(result.exit_status)
