from __future__ import annotations

import numpy as np
import pytest

import levit_ref
from levit_ref.inspection import component_costs
from levit_ref.inspection.ledger import cost_ledger
from levit_ref.nn import FunctionTap

MODELS = ["levit_1m_32px", "levit_1m_32px_a5_no_attention_bias", "levit_1m_32px_a3_layer_norm"]


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_costs(name: str) -> None:
    model = levit_ref.create_model(name, num_classes=10)
    ledger = cost_ledger(model)
    costs = component_costs(model)
    for row, cost in zip(ledger.rows, costs, strict=True):
        assert (row.name, row.output_shape) == (cost.name, cost.output_shape)
        assert (row.parameters, row.macs) == (cost.parameters, cost.macs)
        assert row.microseconds is None
    assert ledger.parameters == model.flat_data.size
    assert ledger.macs == sum(cost.macs for cost in costs)
    assert (ledger.batch_size, ledger.microseconds) == (None, None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_of_a_component_by_hand(dtype: type) -> None:
    model = levit_ref.create_model("levit_1m_32px", num_classes=10, dtype=dtype)
    sizes = {row.name: row.activation_bytes for row in cost_ledger(model).rows}
    config, itemsize = model.config, np.dtype(dtype).itemsize
    N, C, h, D = 8 * 8, config.embed_dims[0], config.num_heads[0], config.key_dim
    E = 2 * D
    # product and norm of q, k, v (whose parts are views); bias, scores, the two added, and probabilities; context,
    # then merged heads activated; product and norm of the projection; residual sum
    attention = 2 * N * h * (2 * D + E) + 4 * h * N * N + 2 * N * h * E + 2 * N * C + N * C
    mlp = 3 * N * 2 * C + 2 * N * C + N * C  # product, norm and activation up; product and norm down; residual sum
    assert sizes["stages.0.blocks.0.attn"] == itemsize * attention
    assert sizes["stages.0.blocks.0.mlp"] == itemsize * mlp
    assert sizes["head"] == itemsize * (config.embed_dims[-1] + 10)  # norm, logits


@pytest.mark.parametrize("name", MODELS)
def test_every_value_is_charged_to_some_component(name: str) -> None:
    """The total is that of all values which the forward pass names, each piece of memory once."""
    model = levit_ref.create_model(name, num_classes=10)
    pieces: list[np.ndarray] = []

    def see(name: str, value: np.ndarray) -> None:
        if name != "images" and not any(np.shares_memory(value, other) for other in pieces):
            pieces.append(value)

    with model.inference():
        model.forward(np.ones((1, 3, 32, 32), np.float32), FunctionTap(see))
    assert cost_ledger(model).activation_bytes == sum(piece.nbytes for piece in pieces)


def test_times_are_positive_and_within_the_total() -> None:
    ledger = cost_ledger(levit_ref.create_model("levit_1m_32px", num_classes=10), batch_size=2, repetitions=1)
    assert ledger.batch_size == 2
    times = [row.microseconds for row in ledger.rows]
    assert all(time is not None and time > 0 for time in times)
    # of one repetition the medians are the measurements: nothing is left out of the total, or counted twice
    assert ledger.microseconds == pytest.approx(sum(time for time in times if time is not None))


def test_the_model_stays_as_it_was() -> None:
    model = levit_ref.create_model("levit_1m_32px", num_classes=10)
    before = model.state_dict()
    cost_ledger(model, batch_size=1, repetitions=1)
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    model.backward(np.ones_like(model(images)))  # it remembers again
    assert np.abs(model.flat_grad).max() > 0


@pytest.mark.parametrize("what", ["batch_size", "repetitions"])
def test_no_images_or_no_repetitions_are_refused(what: str) -> None:
    model = levit_ref.create_model("levit_1m_32px", num_classes=10)
    with pytest.raises(ValueError, match=f"{what} must be at least 1, got 0"):
        cost_ledger(model, **{"batch_size": 1, "repetitions": 1, what: 0})
