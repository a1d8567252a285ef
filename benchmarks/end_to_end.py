"""`levit-ref train` from end to end beside the bare training step: what everything around the step costs.

    python benchmarks/end_to_end.py                              # generated pictures of CIFAR-10's size
    python benchmarks/end_to_end.py --data-dir cifar-10-batches-py
    python benchmarks/end_to_end.py --model levit_1m_32px --steps 40

The bare step is forward, loss, backward and AdamW, again and again on one batch that is ready. The training loop is
the one of the command line with CIFAR-10's settings: batches made of bytes in the background, augmentation, clipping,
the moving average, metrics and a live display. The two take turns in one process, an epoch and as many bare steps, so
that a change of the machine's speed hits both alike. What a part of the difference costs by itself is measured beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import common
import numpy as np
from common import COLOURS, Record, Table
from matplotlib.figure import Figure
from rich.console import Console

import levit_ref
from levit_ref.data import ArrayDataset, Loader
from levit_ref.evaluation import evaluate
from levit_ref.nn import lean_backward
from levit_ref.training import Datasets, Progress, TrainConfig, load_datasets, train
from levit_ref.training.parts import Parts, build

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TEST_SIZE = 256
BARE, TRAINING = "bare step", "levit-ref train"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--model", default="levit_128s_32px")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--backend", choices=levit_ref.available_backends(), help="by default the active one")
    parser.add_argument("--steps", type=int, default=20, help="of each in a turn")
    parser.add_argument("--data-dir", type=Path, help="CIFAR-10 in its official layout; else pictures are generated")


def noise(count: int, seed: int) -> ArrayDataset:
    """Pictures of CIFAR-10's size; what they show makes no difference to the time."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return ArrayDataset(images, rng.integers(0, 10, count), CLASSES)


def bare_step(parts: Parts) -> Callable[[], None]:
    """Forward, loss, backward and AdamW, on the first batch of an epoch."""
    batch = next(iter(parts.loader.epoch(0)))

    def step() -> None:
        model = parts.step.model
        logits = model.forward_heads(batch.images)
        _, gradient = parts.step.objective(logits, batch.targets)
        model.zero_grad()
        with lean_backward():
            model.backward_heads(gradient.head, gradient.head_dist)
        parts.step.optimizer.step(1e-4)

    return step


class Turns(Progress):
    """The live display, drawn to nowhere; after each epoch of the loop come as many bare steps."""

    def __init__(self, nowhere: TextIO, step: Callable[[], None], steps: int, pictures: int) -> None:
        super().__init__(Console(file=nowhere, force_terminal=True))
        self.bare, self.steps_in_a_turn, self.pictures = step, steps, pictures
        self.all_steps = 0
        self.images_per_second: dict[str, list[float]] = {BARE: [], TRAINING: []}

    def start(self, steps: int, done: int) -> None:
        self.all_steps = steps
        super().start(steps, done)

    def epoch(self, record: Mapping[str, Any], epochs: int, eta_seconds: float) -> None:
        super().epoch(record, epochs, eta_seconds)
        self.__exit__(None, None, None)  # the display, so that nothing runs beside the bare steps
        self.bare()
        start = time.perf_counter()
        for _ in range(self.steps_in_a_turn):
            self.bare()
        bare = self.pictures / (time.perf_counter() - start)
        if record["epoch"] > 1:  # the first one warms up
            self.images_per_second[TRAINING].append(record["images_per_second"])
            self.images_per_second[BARE].append(bare)
        self.start(self.all_steps, record["step"])


def seconds(function: Callable[[], object], calls: int = 30) -> float:
    """Of one call, the median."""
    return statistics.median(common.seconds_of(function, time.perf_counter) for _ in range(calls))


def parts_alone(parts: Parts, config: TrainConfig) -> dict[str, float]:
    """Seconds in a step of what the loop does beside the bare step."""
    loader = Loader(
        parts.loader.dataset, config.batch_size, parts.loader.preprocessing, config.augmentation(), workers=0
    )
    batches = loader.epoch(0)
    calls = min(30, len(loader))
    found = {
        "a batch (made in the background)": seconds(lambda: next(batches), calls),
        f"clipping ({config.clip_mode})": seconds(parts.step.clip),
    }
    if parts.step.ema is not None:
        found["moving average"] = seconds(parts.step.ema.update)
    rng = np.random.default_rng(0)
    found["stochastic depth: its generator"] = seconds(lambda: parts.step.model.drop_path.seed(rng))
    return found


def measure(args: argparse.Namespace) -> Record:
    """Run both in turns."""
    if args.clock != "wall":
        raise SystemExit("end_to_end.py: batches are made in the background, so only --clock wall makes sense")
    settings = {
        "dataset": "cifar10",
        "model": args.model,
        "backend": args.backend,
        "batch_size": args.batch,
        "epochs": args.turns + 1,
        "data_dir": None if args.data_dir is None else str(args.data_dir),
        "train_size": args.steps * args.batch,
        "test_size": TEST_SIZE,
        "eval_every": args.turns + 1,
    }
    config = TrainConfig(**{name: value for name, value in settings.items() if value is not None})
    pictures = args.steps * args.batch
    datasets = load_datasets(config) if args.data_dir else Datasets(noise(pictures, 0), noise(TEST_SIZE, 1))
    backend = config.backend or levit_ref.get_backend()
    with levit_ref.use_backend(backend), tempfile.TemporaryDirectory() as folder:
        parts = build(config, datasets)
        with open(os.devnull, "w") as nowhere:
            turns = Turns(nowhere, bare_step(parts), args.steps, pictures)
            train(config, Path(folder) / "run", datasets=datasets, progress=turns)
        alone = parts_alone(parts, config)
        evaluation = TEST_SIZE / seconds(
            lambda: evaluate(
                parts.step.model, datasets.test, preprocessing=parts.loader.preprocessing, batch_size=args.batch
            ),
            3,
        )
    both = turns.images_per_second
    ratios = [loop / bare for loop, bare in zip(both[TRAINING], both[BARE], strict=True)]
    return {
        "task": f"{config.model}, batch {args.batch}",
        "batch": args.batch,
        "steps_in_a_turn": args.steps,
        "backend": backend,
        "images_per_second": both,
        "training_relative_to_bare_step": statistics.median(ratios),
        "seconds_in_a_step": alone,
        "evaluation_images_per_second": evaluation,
    }


def tables(record: Record) -> dict[str, Table]:
    """The two beside each other, and what is in the one but not in the other."""
    share = {BARE: "100%", TRAINING: f"{record['training_relative_to_bare_step']:.1%}"}
    rows = []
    for name, speeds in record["images_per_second"].items():
        median = statistics.median(speeds)
        ms = common.milliseconds(record["batch"] / median)
        rows.append([name, f"{median:.0f}", f"{max(speeds):.0f}", ms, share[name]])
    testing = record["evaluation_images_per_second"]
    rows.append(
        ["evaluation, which is in neither", f"{testing:.0f}", "", common.milliseconds(record["batch"] / testing), ""]
    )
    title = f"{record['task']}, {record['backend']} backend"
    header = ["", "images/s (median)", "images/s (best)", "ms a step", "of the bare step (median of the turns)"]
    alone = [[name, common.milliseconds(s)] for name, s in record["seconds_in_a_step"].items()]
    return {
        "training": Table(title, header, rows),
        "parts": Table("What training does beside the bare step, by itself", ["", "ms a step"], alone),
    }


def figure(record: Record) -> Figure:
    """One bar each."""
    fig = common.new_figure(8, 1.5)
    axes = fig.subplots()
    both = record["images_per_second"]
    colours = [COLOURS["NumPy"], COLOURS["native"]]
    common.labelled_bars(axes, list(both), [statistics.median(both[name]) for name in both], colours, "{:.0f}")
    axes.set_title(f"Images a second, {record['task']}, {record['backend']} backend", fontsize=10)
    return fig


if __name__ == "__main__":
    common.run(sys.modules[__name__])
