"""Thirty steps of AdamW: our forward, backward, loss and optimiser against transformers, autograd and torch.optim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from levit_ref.checkpoints.formats import transformers
from levit_ref.checkpoints.translate import names_of
from levit_ref.nn import LeViT, LeViTConfig, StemConv
from levit_ref.ops import hard_distillation_backward, hard_distillation_forward
from levit_ref.training.flat import decay_mask
from levit_ref.training.optimizer import AdamW
from tests.parity.oracle import Arrays, make_oracle, pictures, state_of

STEPS = 30
BATCH = 8
NUM_CLASSES = 10
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.025
TOLERANCE = 1e-8
"""Of the loss and of every single number of the network, absolute; the numbers are of order 1 and below.

Measured: losses stay within 1e-11, numbers within 1e-9, and the largest difference comes from the same
place. In training mode the biases that shift all tokens have no effect (the next normalisation subtracts them), so that
their gradients are rounding and nothing else, about 1e-17; Adam divides a gradient by its own size, and what keeps
this from being noise of the size of a step is epsilon (1e-8) in that division. The running means then follow the shift.
"""

CONFIG = LeViTConfig(
    "small",
    embed_dims=(32, 48, 64),
    key_dim=8,
    num_heads=(2, 3, 4),
    depths=(1, 2, 1),
    stem=(StemConv(4), StemConv(8), StemConv(16), StemConv(32)),
)


@dataclass
class Trajectory:
    losses: list[float]
    states: list[Arrays]
    """After each step."""


@pytest.fixture(scope="module")
def trajectories() -> tuple[Trajectory, Trajectory]:
    """Ours and theirs, from the same start (ours: zero-initialised norms and all), on the same batches."""
    rng = np.random.default_rng(1989)
    model = LeViT(CONFIG, num_classes=NUM_CLASSES, image_size=80, seed=4, dtype=np.float64)
    oracle = make_oracle(model)
    optimizer = AdamW(
        model.flat_data,
        model.flat_grad,
        decay_mask([(name, parameter.shape) for name, parameter in model.named_parameters()]),
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    theirs = dict(oracle.named_parameters())
    decayed, others = [], []
    for ours in names_of(CONFIG):
        name = transformers.name_of(ours, CONFIG)
        if name in theirs:
            # The official recipe in its own words: no decay on 1-D parameters, biases, attention biases.
            bare = theirs[name].ndim == 1 or name.endswith((".bias", "attention_biases"))
            (others if bare else decayed).append(theirs[name])
    torch_optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}], lr=LEARNING_RATE
    )

    ours, reference = Trajectory([], []), Trajectory([], [])
    for _ in range(STEPS):
        labels = rng.integers(NUM_CLASSES, size=BATCH)
        teacher = rng.standard_normal((BATCH, NUM_CLASSES)) + 3 * np.eye(NUM_CLASSES)[labels]
        tint = np.random.default_rng(7).standard_normal((NUM_CLASSES, 3, 1, 1))  # what there is to learn
        images = pictures(rng, BATCH, model.image_size) + 2 * tint[labels]

        head, head_dist = model.forward_heads(images)
        assert head_dist is not None
        loss, saved = hard_distillation_forward(head, head_dist, labels, teacher)
        model.zero_grad()
        model.backward_heads(*hard_distillation_backward(1.0, saved))
        optimizer.step()
        ours.losses.append(float(loss))
        ours.states.append(model.state_dict())

        output = oracle(torch.from_numpy(images))
        torch_loss = (
            cross_entropy(output.cls_logits, torch.from_numpy(labels))
            + cross_entropy(output.distillation_logits, torch.from_numpy(teacher.argmax(axis=1)))
        ) / 2
        torch_optimizer.zero_grad()
        torch_loss.backward()
        torch_optimizer.step()
        reference.losses.append(torch_loss.item())
        reference.states.append({name: array.copy() for name, array in state_of(oracle, model).items()})
    return ours, reference


def test_every_loss(trajectories: tuple[Trajectory, Trajectory]) -> None:
    ours, reference = trajectories
    assert len(ours.losses) == STEPS
    np.testing.assert_allclose(ours.losses, reference.losses, rtol=0, atol=TOLERANCE)


def test_every_number_after_every_step(trajectories: tuple[Trajectory, Trajectory]) -> None:
    ours, reference = trajectories
    for step, (state, expected) in enumerate(zip(ours.states, reference.states, strict=True), start=1):
        for name, array in expected.items():
            error = np.abs(state[name] - array).max()
            assert error < TOLERANCE, f"step {step}: {name} differs by {error:.1e}"


def test_the_network_really_trained(trajectories: tuple[Trajectory, Trajectory]) -> None:
    """Otherwise two networks that stand still would agree."""
    ours, _ = trajectories
    assert np.mean(ours.losses[-5:]) < 0.8 * ours.losses[0]
    first, last = ours.states[0], ours.states[-1]
    for name in first:
        if "running" not in name and not name.endswith(("proj.ln.bn.bias", "mlp.ln2.bn.bias", "conv4.bn.bias")):
            moved = np.abs(last[name] - first[name]).max()
            assert moved > LEARNING_RATE, f"{name} moved by {moved:.1e} only"
