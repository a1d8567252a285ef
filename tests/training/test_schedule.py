"""The learning rate at the steps where it can be worked out by hand, and against torch's cosine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from levit_ref.training.schedule import WarmupCosine


def test_values_by_hand():
    rate = WarmupCosine(lr=1.0, total_steps=14, warmup_steps=4, min_lr=0.2, warmup_lr=0.0)
    assert [rate(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate(9) == pytest.approx(0.6)  # half way down
    assert rate(14) == pytest.approx(0.2)
    assert rate(1000) == pytest.approx(0.2)


def test_warm_up_starts_above_its_floor():
    rate = WarmupCosine(lr=1e-3, total_steps=100, warmup_steps=10, warmup_lr=1e-6)
    assert rate(0) == pytest.approx(1e-6 + (1e-3 - 1e-6) / 10)


def test_cosine_agrees_with_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.01)
    ours = WarmupCosine(lr=0.5, total_steps=50, min_lr=0.01)
    for step in range(50):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()


def test_it_rises_then_falls():
    rate = WarmupCosine(lr=1.0, total_steps=200, warmup_steps=50)
    values = np.array([rate(step) for step in range(200)])
    assert (np.diff(values[:50]) > 0).all() and (np.diff(values[50:]) < 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"total_steps": 0}, "total_steps must be at least 1"),
        ({"warmup_steps": 10}, r"warmup_steps must be in \[0, total_steps = 10\), got 10"),
        ({"min_lr": 2.0}, "min_lr must be between 0 and lr = 1.0, got 2.0"),
        ({"warmup_lr": -1.0}, "warmup_lr must be between 0 and lr"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        WarmupCosine(**({"lr": 1.0, "total_steps": 10} | settings))


def test_steps_count_from_zero():
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        WarmupCosine(lr=1.0, total_steps=10)(-1)
