"""AdamW against torch.optim.AdamW, and the rule of what is decayed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from levit_ref.ops._rows import CHUNK, chunks
from levit_ref.training.flat import decay_mask, is_decayed
from levit_ref.training.optimizer import AdamW


def run_both(sizes, decayed, dtype, steps, seed=0):
    """The same gradients through torch.optim.AdamW and ours; returns both parameter arrays after every step."""
    rng = np.random.default_rng(seed)
    start = [rng.standard_normal(size).astype(dtype) for size in sizes]
    theirs = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in start]
    settings = {"lr": 3e-3, "betas": (0.9, 0.98), "eps": 1e-8}
    groups = [
        {"params": [p for p, d in zip(theirs, decayed, strict=True) if d], "weight_decay": 0.05},
        {"params": [p for p, d in zip(theirs, decayed, strict=True) if not d], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, **settings)
    params = np.concatenate(start)
    grads = np.zeros_like(params)
    mask = np.repeat(decayed, sizes)
    ours = AdamW(params, grads, mask, weight_decay=0.05, **settings)
    for step in range(steps):
        lr = 3e-3 * (1 + np.cos(step / 10)) / 2
        grads[:] = rng.standard_normal(grads.size) * rng.uniform(1e-6, 10)
        split = np.split(grads, np.cumsum(sizes)[:-1])
        for p, g in zip(theirs, split, strict=True):
            p.grad = torch.from_numpy(g.copy())
        for group in reference.param_groups:
            group["lr"] = lr
        reference.step()
        ours.step(lr)
        yield params, np.concatenate([p.detach().numpy() for p in theirs])


def test_agrees_with_torch_in_float64_over_many_steps():
    for ours, theirs in run_both([7, 3, 40, 1], [True, False, True, False], np.float64, steps=200):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_agrees_with_torch_in_float32():
    for ours, theirs in run_both([50, 30], [True, False], np.float32, steps=50):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_chunk_borders_that_cut_through_parameters():
    sizes = [CHUNK - 5, 10, 3, CHUNK + 17, 1]
    for ours, theirs in run_both(sizes, [True, False, True, True, False], np.float64, steps=3):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_decay_reaches_exactly_the_masked_elements():
    params, mask = np.ones(3 * CHUNK), np.zeros(3 * CHUNK, bool)
    mask[CHUNK - 2 : CHUNK + 3] = True
    optimizer = AdamW(params, np.zeros_like(params), mask, weight_decay=0.5)
    optimizer.step(lr=0.1)
    np.testing.assert_array_equal(params, np.where(mask, 0.95, 1.0))


def test_a_saved_state_continues_to_the_same_bits():
    rng = np.random.default_rng(1)
    gradients = rng.standard_normal((6, 100)).astype(np.float32)
    mask = np.arange(100) < 60

    def steps(optimizer, some):
        for g in some:
            optimizer.grads[:] = g
            optimizer.step(1e-2)

    whole = AdamW(np.ones(100, np.float32), np.zeros(100, np.float32), mask)
    steps(whole, gradients)
    first = AdamW(np.ones(100, np.float32), np.zeros(100, np.float32), mask)
    steps(first, gradients[:3])
    second = AdamW(first.params.copy(), np.zeros(100, np.float32), mask)
    second.load_state_dict(first.state_dict())
    steps(second, gradients[3:])
    assert whole.params.tobytes() == second.params.tobytes()
    assert whole.params.dtype == np.float32


def test_the_state_is_a_copy():
    optimizer = AdamW(np.ones(4), np.ones(4), np.ones(4, bool))
    state = optimizer.state_dict()
    optimizer.step()
    assert state["steps"] == 0 and not state["m"].any()


@pytest.mark.parametrize(
    ("name", "shape", "decayed"),
    [
        ("stem.conv1.linear.weight", (16, 3, 3, 3), True),
        ("stages.0.blocks.0.attn.qkv.linear.weight", (256, 128), True),
        ("head.linear.weight", (10, 384), True),
        ("head.linear.bias", (10,), False),
        ("head.bn.weight", (384,), False),
        ("stages.0.blocks.0.attn.attention_biases", (4, 196), False),
        ("pos_embed", (1, 64, 128), False),
    ],
)
def test_what_is_decayed(name, shape, decayed):
    assert is_decayed(name, shape) is decayed
    assert (decay_mask([(name, shape)]) == decayed).all()


def test_decay_mask_follows_the_flat_order():
    mask = decay_mask([("a.weight", (2, 3)), ("a.bias", (2,)), ("b.weight", (1, 4))])
    assert mask.tolist() == [True] * 6 + [False] * 2 + [True] * 4


def test_chunks_cover_everything_once():
    covered = np.concatenate([np.arange(2 * CHUNK + 5)[piece] for piece in chunks(2 * CHUNK + 5)])
    assert covered.tolist() == list(range(2 * CHUNK + 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": -1.0}, "lr must be at least 0, got -1.0"),
        ({"betas": (0.9, 1.0)}, r"betas must be in \[0, 1\)"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"grads": np.zeros(3)}, r"grads is float64 of shape \(3,\), expected float64 of shape \(4,\)"),
        ({"grads": np.zeros(4, np.float32)}, "grads is float32"),
        ({"params": np.zeros((2, 2))}, "params must be a contiguous 1-D floating array"),
        ({"decay_mask": np.ones(4)}, "decay_mask must be bool"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"params": np.zeros(4), "grads": np.zeros(4), "decay_mask": np.ones(4, bool)} | change
    with pytest.raises(ValueError, match=message):
        AdamW(**arguments)


def test_a_foreign_state_is_refused():
    optimizer = AdamW(np.zeros(4), np.zeros(4), np.ones(4, bool))
    with pytest.raises(ValueError, match="keys steps, m, v; got steps"):
        optimizer.load_state_dict({"steps": 1})
    with pytest.raises(ValueError, match="state m is float64 of shape"):
        optimizer.load_state_dict({"steps": 1, "m": np.zeros(3), "v": np.zeros(4)})
