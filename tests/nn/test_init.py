"""Initial weights: distributions, zeros where the official code has them, and the meaning of a seed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import mtrand

import levit_ref
from levit_ref.nn import LeViT, init


@pytest.fixture(scope="module")
def model() -> LeViT:
    return levit_ref.create_model("levit_128s", dtype=np.float64)


def test_the_last_norm_of_every_residual_branch_starts_at_zero(model: LeViT) -> None:
    zero = [name for name, p in model.named_parameters() if name.endswith("bn.weight") and (p.data == 0).all()]
    branches = ["attn.proj.ln.bn.weight", "mlp.ln2.bn.weight"]
    expected = [
        f"stages.{s}.blocks.{b}.{end}" for s, depth in enumerate((2, 3, 4)) for b in range(depth) for end in branches
    ]
    expected += [f"stages.{s}.downsample.mlp.ln2.bn.weight" for s in (1, 2)]
    assert sorted(zero) == sorted(expected)
    assert len(zero) == 20


def test_all_other_norms_start_at_one_without_shift(model: LeViT) -> None:
    """Among them the one of the shrinking projection, which has no residual path beside it."""
    parameters = dict(model.named_parameters())
    assert (parameters["stages.1.downsample.attn_downsample.proj.ln.bn.weight"].data == 1).all()
    for name, parameter in parameters.items():
        if name.endswith("bn.bias"):
            assert (parameter.data == 0).all(), name
        elif name.endswith("bn.weight"):
            assert np.unique(parameter.data).tolist() in ([0], [1]), name
    for name, buffer in model.named_buffers():
        assert (buffer == (1 if name.endswith("running_var") else 0)).all(), name


def test_a_new_block_does_nothing(rng: np.random.Generator) -> None:
    model = levit_ref.create_model("levit_1m_32px", num_classes=10)
    x = rng.standard_normal((2, 64, 64), dtype=np.float32)
    np.testing.assert_array_equal(model.stages[0].blocks[0](x), x)


def test_attention_biases_start_at_zero(model: LeViT) -> None:
    tables = [p for name, p in model.named_parameters() if name.endswith("attention_biases")]
    assert len(tables) == 2 + 3 + 4 + 2
    assert all((table.data == 0).all() for table in tables)


def test_heads_start_truncated_normal(model: LeViT) -> None:
    for head in (model.head, model.head_dist):
        assert head is not None
        weight = head.linear.weight.data
        assert abs(weight.std() / 0.02 - 1) < 0.01
        assert abs(weight.mean()) < 1e-4
        assert 4 < np.abs(weight).max() / 0.02 < 6  # not cut at two widths: the limit of the official code is absolute
        assert head.linear.bias is not None
        assert (head.linear.bias.data == 0).all()


def test_all_other_weights_start_uniform(model: LeViT) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("linear.weight") and not name.startswith("head"):
            bound = np.prod(parameter.shape[1:]) ** -0.5
            assert 0.98 < np.abs(parameter.data).max() / bound <= 1, name
            assert abs(parameter.data.std() / (bound / np.sqrt(3)) - 1) < 0.05, name


def test_truncation_cuts(rng: np.random.Generator) -> None:
    values = init.truncated_normal(rng, (20_000,), std=1.0, limit=2.0)
    assert 1.99 < np.abs(values).max() <= 2
    # of a standard normal variable between -2 and 2: the variance is 1 - 4 pdf(2) / (cdf(2) - cdf(-2))
    assert abs(values.std() - 0.8796) < 0.01


def test_a_seed_means_the_same_network_in_every_dtype() -> None:
    double, single = (levit_ref.create_model("levit_1m_32px", seed=3, dtype=t) for t in (np.float64, np.float32))
    np.testing.assert_array_equal(double.flat_data.astype(np.float32), single.flat_data)
    other = levit_ref.create_model("levit_1m_32px", seed=4)
    assert (other.flat_data != single.flat_data).mean() > 0.9


def test_the_global_generator_is_left_alone() -> None:
    before = mtrand._rand.get_state()
    levit_ref.create_model("levit_1m_32px", drop_path=0.5)(np.zeros((2, 3, 32, 32), np.float32))
    after = mtrand._rand.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
