"""Numbers that stop being finite: where it began is named, and no good checkpoint is lost."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.checkpoints import load_checkpoint, read_file
from levit_ref.nn import LeViT
from levit_ref.training import NonFiniteError
from levit_ref.training.health import check_finite, diagnose
from levit_ref.training.step import TrainingStep
from tests.training.tiny_run import VARIANT, run


def tiny_model():
    """A model and images for it."""
    return LeViT(VARIANT, num_classes=3, image_size=16), np.random.default_rng(0).random((4, 3, 16, 16), np.float32)


@pytest.mark.parametrize(
    ("parameter", "activation"),
    [
        ("stem.conv2.bn.bias", "stem.conv2.bn"),
        ("stages.0.blocks.0.attn.attention_biases", "stages.0.blocks.0.attn.bias"),
        ("stages.1.downsample.mlp.ln1.linear.weight", "stages.1.downsample.mlp.ln1.linear"),
        ("head.linear.bias", "head.linear"),
    ],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_first_parameter_and_first_activation(parameter, activation, bad):
    model, images = tiny_model()
    dict(model.named_parameters())[parameter].data.flat[0] = bad
    report = diagnose(model, images)
    assert report.endswith(f"the first parameter that is not finite is {parameter}")
    assert report.startswith(f"the first activation that is not finite is {activation},")


def test_an_overflow_between_finite_weights_is_found():
    model, images = tiny_model()
    dict(model.named_parameters())["stages.1.blocks.0.mlp.ln1.bn.weight"].data[:] = 3e38
    report = diagnose(model, images)
    assert report == "the first activation that is not finite is stages.1.blocks.0.mlp.ln1.bn"


def test_bad_images_and_no_finding():
    model, images = tiny_model()
    assert diagnose(model, images) == "every activation is finite"
    images[0, 0, 0, 0] = np.nan
    assert diagnose(model, images) == "the images themselves are not finite"


def test_check_finite_names_the_array_and_ignores_integers():
    check_finite({"a": np.ones(2), "n": np.array(3)}, "saving")
    with pytest.raises(NonFiniteError, match="saving: b is not finite"):
        check_finite({"a": np.ones(2), "b": np.array([1, np.inf])}, "saving")


def saved_step(folder):
    """Where the last checkpoint of a run stands."""
    return read_file(folder / "last.safetensors")[1]["training"]["state"]["step"]


def break_at(monkeypatch, step):
    """Put a NaN into the weights after that step, as a gradient that overflowed would."""
    real = TrainingStep.update

    def broken(self, number):
        real(self, number)
        if number + 1 == step:
            self.model.flat_data[-1] = np.nan  # the head's bias

    monkeypatch.setattr(TrainingStep, "update", broken)


def test_a_run_stops_names_the_layer_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    break_at(monkeypatch, 5)
    message = (
        "step 6: the loss is nan; the first activation that is not finite is head.linear, "
        "the first parameter that is not finite is head.linear.bias; .*last.safetensors holds the last good state"
    )
    with pytest.raises(NonFiniteError, match=message):
        run(tmp_path / "run", checkpoint_every_steps=2)
    assert saved_step(tmp_path / "run") == 4
    model = load_checkpoint(tmp_path / "run" / "last.safetensors").model
    assert np.isfinite(model.flat_data).all()


@pytest.mark.parametrize(
    ("cadence", "saved"),
    [
        ({"checkpoint_every_steps": 3}, 3),
        ({"checkpoint_every_steps": 0, "checkpoint_every_seconds": 1e-9}, 5),  # after each step
    ],
)
def test_bad_weights_are_never_saved(tmp_path, monkeypatch, cadence, saved):
    break_at(monkeypatch, 6)  # a checkpoint is due at once, before any loss can tell
    with pytest.raises(NonFiniteError, match=r"step 6: not saved: model\.head\.linear\.bias is not finite"):
        run(tmp_path / "run", **cadence)
    assert saved_step(tmp_path / "run") == saved


def test_a_test_loss_that_is_not_finite(tmp_path, monkeypatch):
    break_at(monkeypatch, 14)  # the last step of the second epoch
    message = r"epoch 2: the test loss is nan; not finite is head\.linear\.bias; .* holds the last good state"
    with pytest.raises(NonFiniteError, match=message):
        run(tmp_path / "run", checkpoint_every_steps=0)
    assert saved_step(tmp_path / "run") == 7


def test_before_the_first_checkpoint(tmp_path, monkeypatch):
    break_at(monkeypatch, 1)
    with pytest.raises(NonFiniteError, match=r"step 2: .*nothing was saved yet"):
        run(tmp_path / "run", checkpoint_every_steps=0)
