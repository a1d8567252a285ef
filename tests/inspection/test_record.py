"""Recording for the tools: evaluation mode, in batches, and no trace on the model."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref import run_with_activations
from levit_ref.inspection import ATTENTION, record
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


def test_a_record_is_what_evaluation_mode_computes(backend: str, images: Array) -> None:
    training, evaluating = tiny(dtype=np.float32, drop_path=0.3), tiny(dtype=np.float32, drop_path=0.3).eval()
    state = training.state_dict()
    acts = record(training, images, "*")
    _, expected = run_with_activations(evaluating, images, "*")
    assert list(acts) == list(expected)
    for name, value in acts.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert training.training
    for name, array in training.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_a_pending_backward_is_not_disturbed(images64: Array, rng: np.random.Generator) -> None:
    model, untouched = tiny(), tiny()
    dlogits = rng.standard_normal((3, 5))
    for each in (model, untouched):
        each(images64)
    record(model, images64[::-1].copy(), "*")
    np.testing.assert_array_equal(model.backward(dlogits), untouched.backward(dlogits))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_make_one_record(batch_size: int, model64: LeViT, images64: Array) -> None:
    whole, acts = record(model64, images64, "*"), record(model64, images64, "*", batch_size=batch_size)
    assert list(acts) == list(whole)
    for name, value in acts.items():
        assert value.shape == acts.spec(name).shape == whole[name].shape
        assert not value.flags.writeable
        np.testing.assert_allclose(value, whole[name], atol=1e-12, err_msg=name)
    assert acts.notes == whole.notes


def test_nothing_after_the_last_name_is_computed(model: LeViT, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> Array:
        raise AssertionError("the head ran")

    model.activation_specs()
    monkeypatch.setattr(model.head, "forward", fail)
    assert len(record(model, images, ATTENTION)) == 4
    with pytest.raises(AssertionError, match="the head ran"):
        record(model, images, "logits")


def test_the_record_knows_every_value_of_the_network(model: LeViT, images: Array) -> None:
    acts = record(model, images, [])
    assert len(acts) == 0
    assert list(acts.catalogue) == [spec.name for spec in model.activation_specs()]


def test_needed_values(model: LeViT, images: Array) -> None:
    acts = record(model, images, ["*.probs", "pooled"])
    assert list(acts.needed(["pooled", "stages.0.*.probs"], by="tool")) == ["stages.0.blocks.0.attn.probs", "pooled"]
    with pytest.raises(ValueError, match=r"^tool needs head, which this .*record\(model, images, \['head'\]\) keeps"):
        acts.needed("head", by="tool")
    with pytest.raises(ValueError, match=r"^tool needs images and 6 more, which this record does not have"):
        acts.needed(["images", "pooled", "head*"], by="tool")
    with pytest.raises(ValueError, match="tool: there is no value 'poled'; the nearest are pooled"):
        acts.needed("poled", by="tool")


def test_refusals(model: LeViT, images: Array) -> None:
    with pytest.raises(ValueError, match="record: batch_size must be at least 1, got 0"):
        record(model, images, "*", batch_size=0)
    for batch_size in (None, 2):
        with pytest.raises(ValueError, match="the batch is empty"):
            record(model, images[:0], "*", batch_size=batch_size)
    with pytest.raises(ValueError, match="names: there is no value 'poled'"):
        record(model, images, "poled")
