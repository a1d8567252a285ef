"""A model goes into a file and comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.checkpoints import CheckpointError, load_metadata, load_model, read_file, save_model, write_file
from levit_ref.nn import LeViT, LeViTConfig, StemConv

CONFIG = LeViTConfig("tiny", (16, 24), 8, (2, 3), (1, 1), (StemConv(8), StemConv(16)), image_size=16)
ABOUT = {
    "class_names": ("cat", "dog", "é"),
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "dataset": "pets",
    "accuracy": 1 / 3,
    "training": {"commands": ["levit-ref train"], "epochs": 3},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(tmp_path, dtype):
    model = LeViT(CONFIG, num_classes=3, image_size=(16, 24), seed=3, dtype=dtype)
    images = np.random.default_rng(0).standard_normal((4, 3, 16, 24)).astype(dtype)
    model(images)  # moves the running statistics
    save_model(tmp_path / "m.safetensors", model, **ABOUT)
    back, metadata = load_model(tmp_path / "m.safetensors")
    assert back.config == CONFIG and back.num_classes == 3 and back.image_size == (16, 24) and back.dtype == dtype
    assert {name: getattr(metadata, name) for name in ABOUT} == ABOUT
    assert load_metadata(tmp_path / "m.safetensors") == metadata
    for name, array in model.state_dict().items():
        assert back.state_dict()[name].tobytes() == array.tobytes(), name
    model.eval()
    back.eval()
    assert back(images).tobytes() == model(images).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_rounds_what_has_two_axes_and_nothing_else(tmp_path, dtype):
    model = LeViT(CONFIG, num_classes=3, image_size=16, seed=3, dtype=dtype)
    model(100 * np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(dtype))  # variances beyond float16
    model.head.bn.running_var.data[0] = 1e6
    save_model(tmp_path / "m.safetensors", model, half=True, **ABOUT)
    tensors, _ = read_file(tmp_path / "m.safetensors")
    back, metadata = load_model(tmp_path / "m.safetensors")
    assert back.dtype == dtype and metadata.dtype == np.dtype(dtype).name
    assert metadata.class_names == ABOUT["class_names"]
    for name, array in model.state_dict().items():
        stored, loaded = tensors[f"model.{name}"], back.state_dict()[name]
        if array.ndim > 1:
            assert stored.dtype == np.float16 and loaded.dtype == dtype
            np.testing.assert_array_equal(loaded, array.astype(np.float16).astype(dtype))
            # the nearest float16: half of the last of 11 bits, below 2**-14 half of the smallest number
            assert (np.abs(loaded - array) <= np.maximum(np.abs(array) * 2.0**-11, 2.0**-25)).all(), name
        else:
            assert (stored.dtype, stored.tobytes()) == (array.dtype, array.tobytes()), name
            assert loaded.tobytes() == array.tobytes(), name


def test_half_does_not_make_infinity_of_a_number(tmp_path):
    model = LeViT(CONFIG, num_classes=3, image_size=16)
    model.head.linear.weight.data[1, 2] = -65504
    save_model(tmp_path / "m.safetensors", model, half=True)  # the last number that fits
    model.head.linear.weight.data[1, 2] = -70000
    with pytest.raises(
        ValueError, match=r"model\.head\.linear\.weight has a number of size 70000; float16 ends at 65504"
    ):
        save_model(tmp_path / "new.safetensors", model, half=True)
    assert not (tmp_path / "new.safetensors").exists()


def test_names_in_the_file_are_the_model_s(tmp_path):
    model = LeViT(CONFIG, num_classes=3, image_size=16)
    save_model(tmp_path / "m.safetensors", model)
    tensors, _ = read_file(tmp_path / "m.safetensors")
    assert {f"model.{name}" for name in model.state_dict()} == set(tensors)


def test_files_that_hold_no_model_of_ours(tmp_path):
    path = tmp_path / "m.safetensors"
    write_file(path, {}, {"something": "else"})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: holds no model"):
        load_model(path)
    with pytest.raises(CheckpointError, match=r"m\.safetensors: holds no model"):
        load_metadata(path)
    model = LeViT(CONFIG, num_classes=3, image_size=16)
    save_model(path, model)
    tensors, metadata = read_file(path)
    write_file(path, tensors, {"model": metadata["model"] | {"format_version": 99}})
    with pytest.raises(CheckpointError, match="format version 99, this version of levit_ref reads 1"):
        load_model(path)
    del tensors["model.head.linear.bias"]
    write_file(path, tensors, metadata)
    with pytest.raises(CheckpointError, match=r"missing: head\.linear\.bias"):
        load_model(path)
    write_file(path, tensors, {"model": metadata["model"] | {"colour": "red"}})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: .*colour"):
        load_model(path)


def test_class_names_must_be_as_many_as_classes(tmp_path):
    model = LeViT(CONFIG, num_classes=3, image_size=16)
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        save_model(tmp_path / "m.safetensors", model, class_names=("a", "b"))
