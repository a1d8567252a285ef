"""One training step (forward, loss, backward, AdamW) of the NumPy backend beside PyTorch, eager and compiled.

    python benchmarks/train_step.py                                       # 128S widths, 32x32 pictures, batch 128
    python benchmarks/train_step.py --model levit_128s --batch 16         # 224x224
    python benchmarks/train_step.py --json step.json

The same weights, the same batch, the same threads, in one process and in turns, so that a change of the machine's
speed hits all alike. Before anything is timed, loss and gradients of all must agree.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peak import available_cores, measure_peak
from torch_levit import TorchLeViT

import levit_ref
from levit_ref import ops
from levit_ref.nn import LeViT, count_macs
from levit_ref.training.flat import BoolArray, decay_mask
from levit_ref.training.optimizer import AdamW

LR, WEIGHT_DECAY = 1e-3, 0.05


def _decay_mask(model: LeViT) -> BoolArray:
    return decay_mask((name, parameter.shape) for name, parameter in model.named_parameters())


def torch_loss(heads: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Mean of the heads' cross-entropies."""
    return torch.stack([torch.nn.functional.cross_entropy(head, labels) for head in heads]).mean()


def numpy_step(model: LeViT, images: np.ndarray, labels: np.ndarray) -> tuple[Callable[[], float], Callable[[], float]]:
    """Loss with gradients, and the whole step, of our model."""
    optimizer = AdamW(model.flat_data, model.flat_grad, _decay_mask(model), weight_decay=WEIGHT_DECAY)

    def gradients() -> float:
        model.zero_grad()
        heads = [head for head in model.forward_heads(images) if head is not None]
        losses = [ops.cross_entropy_forward(head, labels) for head in heads]
        dheads = [ops.cross_entropy_backward(1 / len(heads), saved) for _, saved in losses]
        model.backward_parameters(dheads[0], dheads[1] if len(heads) > 1 else None)
        return float(sum(loss for loss, _ in losses)) / len(heads)

    def step() -> float:
        loss = gradients()
        optimizer.step(LR)
        return loss

    return gradients, step


def torch_step(model: TorchLeViT, images: np.ndarray, labels: np.ndarray, compiled: bool) -> Callable[[], float]:
    """The whole step in PyTorch; the optimiser is the fused one, which is its fastest."""
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    run = torch.compile(model) if compiled else model

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch_loss(run(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def check_agreement(ours: LeViT, theirs: TorchLeViT, images: np.ndarray, labels: np.ndarray) -> None:
    """Refuse to time two different computations."""
    gradients, _ = numpy_step(ours, images, labels)
    loss = gradients()
    loss_torch = torch_loss(theirs(torch.from_numpy(images)), torch.from_numpy(labels))
    loss_torch.backward()
    scale = float(np.abs(ours.flat_grad).max())
    named = dict(theirs.named_parameters())
    differences = (np.abs(p.grad - np.asarray(named[name].grad)).max() for name, p in ours.named_parameters())
    worst = float(max(differences)) / scale
    if abs(loss - float(loss_torch.detach())) > 1e-4 or worst > 1e-3:
        raise SystemExit(f"the two disagree: loss {loss} and {float(loss_torch.detach())}, gradients by {worst:.1e}")
    theirs.zero_grad()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="levit_128s_32px")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each; the median of their medians is printed")
    parser.add_argument("--steps", type=int, default=4, help="steps of each turn")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (it takes a minute)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()

    threads = available_cores()
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    ours = levit_ref.create_model(args.model, num_classes=10)
    images = rng.standard_normal((args.batch, 3, *ours.image_size), np.float32)
    labels = rng.integers(0, 10, args.batch)

    def torch_model() -> TorchLeViT:
        model = TorchLeViT(ours.config, 10, ours.stem.resolution)
        state = {name: torch.from_numpy(array.copy()) for name, array in ours.state_dict().items()}
        model.load_state_dict(state)
        return model.train()

    check_agreement(ours, torch_model(), images, labels)
    steps = {
        "NumPy": numpy_step(ours, images, labels)[1],
        "PyTorch eager": torch_step(torch_model(), images, labels, compiled=False),
    }
    if not args.no_compile:
        steps["torch.compile"] = torch_step(torch_model(), images, labels, compiled=True)
    for step in steps.values():  # warm up: caches, and the compiler
        step()
        step()

    peak, how = measure_peak()
    medians: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            time.sleep(0.1)  # the threads of the one before stop spinning
            step()
            times = []
            for _ in range(args.steps):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            medians[name].append(statistics.median(times))
    peak = max(peak, measure_peak()[0])

    macs = count_macs(ours)
    gflop = 3 * 2 * macs * args.batch / 1e9  # backward is two products for each one forward
    print(f"{args.model}, batch {args.batch}, {ours.image_size[0]}x{ours.image_size[1]}: {gflop:.1f} GFLOP a step")
    print(f"{threads} threads, peak {peak:.0f} GFLOP/s ({how}); numpy {np.__version__}, torch {torch.__version__}")
    print(f"{'':16}{'ms (median)':>12}{'min':>8}{'images/s':>10}{'of peak':>9}{'time / eager':>14}")
    ratios = {}
    for name, times in medians.items():
        ms = statistics.median(times)
        pairs = [a / b for a, b in zip(times, medians["PyTorch eager"], strict=True)]
        ratios[name] = statistics.median(pairs)
        share = gflop / ms / peak
        print(
            f"{name:16}{ms * 1e3:12.0f}{min(times) * 1e3:8.0f}{args.batch / ms:10.0f}{share:9.0%}{ratios[name]:14.2f}"
        )
    if args.json:
        record = {
            "model": args.model,
            "batch": args.batch,
            "gflop_per_step": gflop,
            "peak_gflops": peak,
            "threads": threads,
            "machine": platform.processor() or platform.machine(),
            "seconds": medians,
            "time_relative_to_eager": ratios,
        }
        args.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
