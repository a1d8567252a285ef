"""Importance: the loss without a part, against the loss of a model that has no such part."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.inspection import draw_importance, importance
from levit_ref.nn import LeViT
from levit_ref.ops import Array, cross_entropy_forward
from tests.nn.networks import tiny

LABELS = np.array([2, 0, 4])


def loss(model: LeViT, images: Array) -> float:
    return float(cross_entropy_forward(model(images), LABELS)[0])


def test_every_part_is_switched_off_once_in_the_order_of_execution(model64: LeViT, images64: Array) -> None:
    found = importance(model64, images64, LABELS)
    assert found.loss == pytest.approx(loss(model64, images64))
    assert [(part.kind, part.place, part.head) for part in found.parts] == [
        ("bias", "0.blocks.0", None),
        ("head", "0.blocks.0", 0),
        ("head", "0.blocks.0", 1),
        ("attention", "0.blocks.0", None),
        ("mlp", "0.blocks.0", None),
        ("bias", "0→1", None),
        ("head", "0→1", 0),
        ("head", "0→1", 1),
        ("mlp", "0→1", None),
        *[
            (kind, f"1.blocks.{block}", head)
            for block in (0, 1)
            for kind, head in [
                ("bias", None),
                ("head", 0),
                ("head", 1),
                ("head", 2),
                ("attention", None),
                ("mlp", None),
            ]
        ],
    ]


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_rises_against_models_without_the_part(norm: str, images64: Array) -> None:
    """Weights that are zero switch the same parts off."""

    def fresh() -> LeViT:
        model = tiny(norm=norm)
        model.eval()
        return model

    found = {(part.kind, part.name, part.head): part.rise for part in importance(fresh(), images64, LABELS).parts}
    whole = loss(fresh(), images64)

    without = fresh()
    table = without.stages[1].blocks[0].attn.attention_biases
    assert table is not None
    table.data[...] = 0
    assert found["bias", "stages.1.blocks.0.attn", None] == pytest.approx(loss(without, images64) - whole)

    for module, part in (("mlp", "mlp"), ("attn", "attention")):
        without = fresh()
        block = without.stages[1].blocks[1]
        last = block.mlp.ln2 if module == "mlp" else block.attn.proj.ln
        for _, parameter in last.named_parameters():
            parameter.data[...] = 0
        assert found[part, f"stages.1.blocks.1.{module}", None] == pytest.approx(loss(without, images64) - whole)

    without = fresh()
    # a head is off when the projection does not read its channels: silu(0) is 0
    attention = without.stages[0].blocks[0].attn
    attention.proj.ln.linear.weight.data[:, attention.value_dim :] = 0
    assert found["head", "stages.0.blocks.0.attn", 1] == pytest.approx(loss(without, images64) - whole)


def test_a_part_that_does_nothing_has_no_importance(images64: Array) -> None:
    model = tiny()
    model.eval()
    last = model.stages[1].blocks[1].mlp.ln2.bn
    last.weight.data[...] = 0
    last.bias.data[...] = 0
    parts = importance(model, images64, LABELS, ["mlp"]).parts
    assert [part.rise == 0 for part in parts] == [False, False, False, True]
    assert parts[-1].error == 0


def test_standard_errors_and_batches(model64: LeViT, images64: Array) -> None:
    one_by_one = [importance(model64, images64[i : i + 1], LABELS[i : i + 1], ["head"]) for i in range(3)]
    found = importance(model64, images64, LABELS, ["head"], batch_size=2)
    for i, part in enumerate(found.parts):
        rises = [single.parts[i].rise for single in one_by_one]
        assert part.rise == pytest.approx(np.mean(rises))
        assert part.error == pytest.approx(np.std(rises, ddof=1) / np.sqrt(3))
    assert np.isnan(one_by_one[0].parts[0].error)


def test_refusals(model64: LeViT, images64: Array) -> None:
    with pytest.raises(ValueError, match="unknown kinds heads; known are head, attention, mlp, bias"):
        importance(model64, images64, LABELS, ["heads"])
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        importance(model64, images64, LABELS[:2])


@pytest.mark.parametrize("kinds", [("head", "attention", "mlp", "bias"), ("head",), ("mlp",)])
def test_drawing(kinds: tuple[str, ...], model64: LeViT, images64: Array, rendered) -> None:
    found = importance(model64, images64, LABELS, kinds)
    figure = draw_importance(found)
    rendered(figure)
    assert len(figure.axes) == 1 + (len(kinds) == 4)
    for ax in figure.axes:
        assert "nats" in ax.get_ylabel()
    bars = [bar.get_height() for bar in figure.axes[-1].patches]
    expected = [part.rise for kind in ("attention", "mlp", "bias") for part in found.parts if part.kind == kind]
    np.testing.assert_allclose(bars, expected)
