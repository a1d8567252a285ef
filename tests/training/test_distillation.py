"""Teachers: a model, or a file of logits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from levit_ref.checkpoints import About, Checkpoint, save_checkpoint, write_file
from levit_ref.data import Augmentation, Loader
from levit_ref.nn import LeViT
from levit_ref.preprocessing import Preprocessing
from levit_ref.training import ConfigError
from levit_ref.training.distillation import ModelTeacher, StoredTeacher
from tests.training.tiny_run import VARIANT, pictures, run

LOGITS = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)


def a_batch(**augmentation):
    """The first batch of 16 of the tiny pictures."""
    loader = Loader(pictures(100, 1), 16, Preprocessing((16, 16)), Augmentation(**augmentation), workers=0)
    return next(iter(loader.epoch(0)))


def save_teacher(path, model):
    """A checkpoint of the model."""
    save_checkpoint(Checkpoint(model, About(Preprocessing(model.image_size))), path)


def test_a_model_teaches_in_inference_mode(tmp_path):
    model = LeViT(VARIANT, num_classes=3, image_size=16, seed=5)
    save_teacher(tmp_path / "t.safetensors", model)
    teacher = ModelTeacher.load(tmp_path / "t.safetensors", num_classes=3, image_size=(16, 16))
    before = teacher.model.state_dict()
    batch = a_batch()
    logits = teacher(batch)
    model.eval()
    np.testing.assert_array_equal(logits, model(batch.images))
    assert all(np.array_equal(teacher.model.state_dict()[name], array) for name, array in before.items())


def test_a_model_for_other_pictures_is_refused(tmp_path):
    save_teacher(tmp_path / "t.safetensors", LeViT(VARIANT, num_classes=3, image_size=24))
    with pytest.raises(ValueError, match=r"t.safetensors: the teacher has 3 classes and takes \(24, 24\) pixels"):
        ModelTeacher.load(tmp_path / "t.safetensors", num_classes=3, image_size=(16, 16))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_logits_from_a_file_go_with_their_pictures(tmp_path, suffix):
    path = tmp_path / f"logits{suffix}"
    if suffix == ".npy":
        np.save(path, LOGITS)
    elif suffix == ".npz":
        np.savez(path, anything=LOGITS)
    else:
        write_file(path, {"logits": LOGITS}, {})
    batch = a_batch()
    teacher = StoredTeacher.load(path, num_images=100, num_classes=3)
    np.testing.assert_array_equal(teacher(batch), LOGITS[batch.indices])


def test_logits_are_mixed_as_the_pictures_are():
    batch = a_batch(mixup=1.0)
    share = batch.shares[:, None]
    assert (share < 1).any()
    expected = share * LOGITS[batch.indices] + (1 - share) * LOGITS[batch.partners]
    np.testing.assert_allclose(StoredTeacher(LOGITS)(batch), expected, rtol=1e-6)


def test_unfit_files_are_named(tmp_path):
    def load(path):
        return StoredTeacher.load(path, num_images=100, num_classes=3)

    with pytest.raises(FileNotFoundError, match=r"absent\.npy: no such file of teacher logits"):
        load(tmp_path / "absent.npy")
    np.save(tmp_path / "few.npy", LOGITS[:50])
    with pytest.raises(ValueError, match=r"few.npy: teacher logits have shape \(50, 3\), expected \(100, 3\)"):
        load(tmp_path / "few.npy")
    np.save(tmp_path / "ints.npy", np.ones((100, 3), int))
    with pytest.raises(ValueError, match=r"ints\.npy: teacher logits must be finite floats, got dtype int64"):
        load(tmp_path / "ints.npy")
    np.save(tmp_path / "nan.npy", np.where(LOGITS > 2, np.nan, LOGITS))
    with pytest.raises(ValueError, match=r"nan\.npy: teacher logits must be finite floats"):
        load(tmp_path / "nan.npy")
    np.savez(tmp_path / "two.npz", a=LOGITS, b=LOGITS)
    with pytest.raises(ValueError, match=r"two.npz: holds 2 arrays \(a, b\)"):
        load(tmp_path / "two.npz")
    (tmp_path / "text.npy").write_text("0.1 0.2 0.3")
    with pytest.raises(ValueError, match=r"text\.npy: not a file of NumPy arrays"):
        load(tmp_path / "text.npy")
    (tmp_path / "logits.csv").write_text("0.1")
    with pytest.raises(ValueError, match=r"logits\.csv: teacher logits are read from"):
        load(tmp_path / "logits.csv")


@pytest.mark.parametrize("distillation", ["hard", "soft"])
def test_a_run_with_a_teacher(tmp_path, distillation):
    config = dataclasses.replace(VARIANT, distillation=True)
    save_teacher(tmp_path / "t.safetensors", LeViT(config, num_classes=3, image_size=16, seed=5))
    changes = {"two_heads": True, "epochs": 1, "distillation": distillation}
    run(tmp_path / "with", teacher=str(tmp_path / "t.safetensors"), **changes)
    run(tmp_path / "without", **changes)
    with_teacher, without = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("with", "without"))
    assert with_teacher.split('"train_accuracy"')[0] != without.split('"train_accuracy"')[0]


def test_a_run_with_stored_logits_and_one_head_is_refused(tmp_path):
    np.save(tmp_path / "l.npy", LOGITS)
    with pytest.raises(ConfigError, match="a teacher needs a model with two heads, but two_heads is false"):
        run(tmp_path / "run", teacher_logits=str(tmp_path / "l.npy"), two_heads=False)
    assert run(tmp_path / "two", teacher_logits=str(tmp_path / "l.npy"), epochs=1).exit_status == 0
