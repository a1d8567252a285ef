"""`levit-ref train` from end to end beside the bare training step: what everything around the step costs.

    python benchmarks/end_to_end.py                              # generated pictures of CIFAR-10's size
    python benchmarks/end_to_end.py --data-dir cifar-10-batches-py
    python benchmarks/end_to_end.py --model levit_128s_32px --json end_to_end.json

The bare step is forward, loss, backward and AdamW, again and again on one batch that is ready. The training loop is
the one of the command line with CIFAR-10's settings: batches made of bytes in the background, augmentation, clipping,
the moving average, metrics and a live display. The two take turns in one process, an epoch and as many bare steps, so
that a change of the machine's speed hits both alike. What a part of the difference costs by itself is measured beside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from peak import available_cores
from rich.console import Console

import levit_ref
from levit_ref.cli.threads import use_threads
from levit_ref.data import ArrayDataset, Loader
from levit_ref.training import Datasets, Progress, TrainConfig, evaluate, load_datasets, train
from levit_ref.training.parts import Parts, build

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TEST_SIZE = 256


def noise(count: int, seed: int) -> ArrayDataset:
    """Pictures of CIFAR-10's size; what they show makes no difference to the time."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return ArrayDataset(images, rng.integers(0, 10, count), CLASSES)


def bare_step(parts: Parts) -> Callable[[], None]:
    """Forward, loss, backward and AdamW, on the first batch of an epoch."""
    batch = next(iter(parts.loader.epoch(0)))

    def step() -> None:
        logits = parts.model.forward_heads(batch.images)
        _, gradient = parts.objective(logits, batch.targets)
        parts.model.zero_grad()
        parts.model.backward_parameters(*gradient)
        parts.optimizer.step(1e-4)

    return step


class Turns(Progress):
    """The live display, drawn to nowhere; behind each epoch of the loop come as many bare steps."""

    def __init__(self, nowhere: TextIO, step: Callable[[], None], steps: int, pictures: int) -> None:
        super().__init__(Console(file=nowhere, force_terminal=True))
        self.bare, self.steps_in_a_turn, self.pictures = step, steps, pictures
        self.all_steps = 0
        self.images_per_second: dict[str, list[float]] = {"bare step": [], "training": []}

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
            self.images_per_second["training"].append(record["images_per_second"])
            self.images_per_second["bare step"].append(bare)
        self.start(self.all_steps, record["step"])


def milliseconds(function: Callable[[], object], calls: int = 30) -> float:
    """Of one call, the median."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def parts_alone(parts: Parts, config: TrainConfig) -> dict[str, float]:
    """Milliseconds in a step of what the loop does beside the bare step."""
    loader = Loader(parts.loader.dataset, config.batch_size, parts.augmentation, workers=0)
    batches = loader.epoch(0)
    calls = min(30, len(loader))
    found = {
        "a batch (in the background)": milliseconds(lambda: next(batches), calls),
        f"clipping ({config.clip_mode})": milliseconds(parts.clip),
    }
    if parts.ema is not None:
        found["moving average"] = milliseconds(parts.ema.update)
    rng = np.random.default_rng(0)
    found["stochastic depth: its generator"] = milliseconds(lambda: parts.model.seed_drop_path(rng))
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run both in turns."""
    settings = {
        "dataset": "cifar10",
        "model": args.model,
        "backend": args.backend,
        "batch_size": args.batch,
        "epochs": args.turns + 1,
        "data_dir": args.data_dir,
        "train_size": args.steps * args.batch,
        "test_size": TEST_SIZE,
        "eval_every": args.turns + 1,
    }
    config = TrainConfig.resolve({name: value for name, value in settings.items() if value is not None})
    pictures = args.steps * args.batch
    datasets = load_datasets(config) if args.data_dir else Datasets(noise(pictures, 0), noise(TEST_SIZE, 1))
    with levit_ref.backend(config.backend or levit_ref.get_backend()), tempfile.TemporaryDirectory() as folder:
        parts = build(config, datasets)
        with open(os.devnull, "w") as nowhere:
            turns = Turns(nowhere, bare_step(parts), args.steps, pictures)
            train(config, Path(folder) / "run", datasets=datasets, progress=turns)
        alone = parts_alone(parts, config)
        evaluation = TEST_SIZE / milliseconds(lambda: evaluate(parts.model, datasets.test, args.batch), 3) * 1e3
        about = next(b.about for b in levit_ref.backends() if b.name == levit_ref.get_backend())
    both = turns.images_per_second
    ratios = [loop / bare for loop, bare in zip(both["training"], both["bare step"], strict=True)]
    return {
        "model": config.model,
        "batch": args.batch,
        "steps_in_a_turn": args.steps,
        "backend": about,
        "threads": args.threads,
        "machine": platform.processor() or platform.machine(),
        "images_per_second": both,
        "training_relative_to_bare_step": statistics.median(ratios),
        "milliseconds_in_a_step": alone,
        "evaluation_images_per_second": evaluation,
    }


def print_table(record: dict[str, Any]) -> None:
    """What :func:`measure` found."""
    print(f"{record['model']}, batch {record['batch']}; {record['backend']}; {record['threads']} threads in all")
    print(f"{'':34}{'images/s':>10}{'best':>8}{'ms a step':>11}")
    for name, speeds in record["images_per_second"].items():
        speed = statistics.median(speeds)
        print(f"{name:34}{speed:10.0f}{max(speeds):8.0f}{record['batch'] / speed * 1e3:11.1f}")
    print(f"training / bare step: {record['training_relative_to_bare_step']:.1%}, the median over the turns")
    print("by themselves:")
    for name, ms in record["milliseconds_in_a_step"].items():
        print(f"  {name:51}{ms:10.2f}")
    print(f"evaluation, which is not among the above: {record['evaluation_images_per_second']:.0f} images/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="levit_1m_32px")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--backend", choices=levit_ref.available_backends(), help="by default the active one")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores of this process")
    parser.add_argument("--turns", type=int, default=7, help="of each, after one to warm up")
    parser.add_argument("--steps", type=int, default=40, help="steps in a turn")
    parser.add_argument("--data-dir", type=Path, help="CIFAR-10 in its official layout; else pictures are generated")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    use_threads(args.threads)  # starts this process anew if NumPy's threads have to be others
    args.threads = args.threads or available_cores()
    args.data_dir = None if args.data_dir is None else str(args.data_dir)
    record = measure(args)
    print_table(record)
    if args.json:
        args.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
