"""A training step (forward, loss, backward, AdamW) of one network on one batch: ours on either backend, PyTorch's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import levit_ref
from levit_ref.inspection import count_macs
from levit_ref.nn import LeViT, lean_backward
from levit_ref.training.flat import decay_mask
from levit_ref.training.objective import Objective
from levit_ref.training.optimizer import AdamW

LR, WEIGHT_DECAY, CLASSES = 1e-3, 0.05, 10

Step = Callable[[], float]
"""Returns the loss."""


@dataclass(frozen=True)
class Task:
    """What is trained: a variant, and a batch of random pictures."""

    model: str
    image_size: int | None
    batch: int

    @property
    def name(self) -> str:
        """For titles."""
        size = "x".join(map(str, self.network().image_size))
        return f"{self.model}, batch {self.batch} at {size}"

    def network(self) -> LeViT:
        """The network, the same weights every time; norms that start at zero are opened, so that gradients flow."""
        model = levit_ref.create_model(self.model, num_classes=CLASSES, image_size=self.image_size)
        model.flat_data[:] += 0.02 * np.random.default_rng(1).standard_normal(model.flat_data.size, np.float32)
        return model

    def pictures(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Images and labels."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((self.batch, 3, *self.network().image_size), np.float32)
        return images, rng.integers(0, CLASSES, self.batch)

    def gflop(self) -> float:
        """Of the products of one step; the backward pass has two for each one of the forward pass."""
        return 3 * 2 * count_macs(self.network()) * self.batch / 1e9


def task_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that describe a task."""
    parser.add_argument("--model", default="levit_128s_32px")
    parser.add_argument("--image-size", type=int, help="rows and columns of the pictures; default: the model's own")
    parser.add_argument("--batch", type=int, default=128)


def task_of(args: argparse.Namespace) -> Task:
    """The task that the options describe."""
    return Task(args.model, args.image_size, args.batch)


class OurStep:
    """The step on one of our backends."""

    def __init__(self, task: Task, backend: str) -> None:
        self.backend, self.model = backend, task.network()
        self.images, self.labels = task.pictures()
        mask = decay_mask((name, parameter.shape) for name, parameter in self.model.named_parameters())
        self.optimizer = AdamW(self.model.flat_data, self.model.flat_grad, mask, weight_decay=WEIGHT_DECAY)
        self.objective = Objective()

    def gradients(self) -> float:
        """Everything but the update."""
        with levit_ref.use_backend(self.backend):
            logits = self.model.forward_heads(self.images)
            loss, gradient = self.objective(logits, self.labels)
            self.model.zero_grad()
            with lean_backward():
                self.model.backward_heads(gradient.head, gradient.head_dist)
        return loss

    def update(self) -> None:
        """AdamW."""
        with levit_ref.use_backend(self.backend):
            self.optimizer.step(LR)

    def __call__(self) -> float:
        """The whole step."""
        loss = self.gradients()
        self.update()
        return loss


class TorchStep:
    """The step in PyTorch; the optimiser is the fused one, which is its fastest.

    Parameters
    ----------
    task : Task
    channels_last : bool
        Memory layout of pictures and convolutions.
    compiled : bool
        With torch.compile.
    """

    def __init__(self, task: Task, *, channels_last: bool = False, compiled: bool = False) -> None:
        import torch
        from torch_levit import TorchLeViT

        self.torch = torch
        ours = task.network()
        images, labels = task.pictures()
        self.model = TorchLeViT(ours.config, CLASSES, ours.stem.grid.shape).train()
        self.model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in ours.state_dict().items()})
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)
        if channels_last:
            self.model.stem.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.run: Any = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)

    def gradients(self) -> float:
        """Everything but the update."""
        cross_entropy = self.torch.nn.functional.cross_entropy
        self.optimizer.zero_grad(set_to_none=True)
        heads = self.run(self.images)
        loss = self.torch.stack([cross_entropy(head, self.labels) for head in heads]).mean()
        loss.backward()
        return float(loss.detach())

    def __call__(self) -> float:
        """The whole step."""
        loss = self.gradients()
        self.optimizer.step()
        return loss


def check_agreement(task: Task, backend: str) -> None:
    """Refuse to time two different computations: losses and gradients of ours and PyTorch's must agree."""
    ours, theirs = OurStep(task, backend), TorchStep(task)
    loss, loss_torch = ours.gradients(), theirs.gradients()
    scale = float(np.abs(ours.model.flat_grad).max())
    named = dict(theirs.model.named_parameters())
    worst = (
        max(float(np.abs(np.asarray(named[name].grad) - p.grad).max()) for name, p in ours.model.named_parameters())
        / scale
    )
    if not (abs(loss - loss_torch) <= 1e-4 * max(1, abs(loss_torch)) and worst <= 1e-3):
        raise SystemExit(f"{backend} and PyTorch disagree: loss {loss} and {loss_torch}, gradients by {worst:.1e}")
