"""The cost ledger: its rows, and that they add up."""

from __future__ import annotations

import numpy as np
import pytest

import levit_ref
from levit_ref.inspection import component_costs, count_macs, count_parameters
from levit_ref.nn import FunctionTap

NAMES = ["levit_128s", "levit_1m_32px", *(n for n in levit_ref.list_models("levit_1m_32px_a"))]


@pytest.mark.parametrize("name", NAMES)
def test_rows_add_up(name: str) -> None:
    model = levit_ref.create_model(name, num_classes=10)
    costs = component_costs(model)
    assert sum(cost.parameters for cost in costs) == model.flat_data.size == count_parameters(model)
    assert sum(cost.macs for cost in costs) == count_macs(model)
    assert len({cost.name for cost in costs}) == len(costs)


@pytest.mark.parametrize("name", NAMES[1:])
def test_output_shapes_are_the_real_ones(name: str) -> None:
    model = levit_ref.create_model(name, num_classes=10)
    shapes: dict[str, tuple[int, ...]] = {}
    tap = FunctionTap(lambda seen, value: shapes.__setitem__(seen, value.shape[1:]))
    with model.inference():
        model(np.zeros((1, 3, 32, 32), np.float32), tap)
    last = {"attn": "proj.ln", "attn_downsample": "proj.ln", "mlp": "ln2"}
    for cost in component_costs(model):
        part = last.get(cost.name.rpartition(".")[2])
        seen = f"{cost.name}.{part}" if part else cost.name
        candidates = [seen] if seen.startswith("head") else [f"{seen}.bn", f"{seen}.linear", seen]
        assert cost.output_shape == next(shapes[c] for c in candidates if c in shapes), cost.name


def test_one_attention_by_hand() -> None:
    """LeViT-128S, first block: 196 tokens, C = 128, 4 heads, D = 16, E = 32."""
    costs = {cost.name: cost for cost in component_costs(levit_ref.create_model("levit_128s"))}
    N, C, h, D, E = 196, 128, 4, 16, 32
    cost = costs["stages.0.blocks.0.attn"]
    assert cost.output_shape == (N, C)
    assert cost.macs == N * C * h * (2 * D + E) + h * N * N * (D + 1 + E) + N * h * E * C
    norms = 2 * h * (2 * D + E) + 2 * C
    assert cost.parameters == C * h * (2 * D + E) + h * E * C + norms + h * N
    assert costs["stem.conv1"].macs == 3 * 16 * 9 * 112 * 112
    assert costs["head"].macs == 384 * 1000
