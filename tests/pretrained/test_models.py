"""What comes with the package is there, is whole, and computes the same by every way."""

from __future__ import annotations

import doctest
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from matplotlib import cbook
from setuptools import Distribution

import levit_ref
from levit_ref.checkpoints import CheckpointError, checkpoint, load_checkpoint, read_file, save_checkpoint
from levit_ref.pretrained import DEFAULT

ROOT = Path(__file__).parents[2]
BOX = ROOT / "levit_ref" / "pretrained"
NAMES = levit_ref.list_pretrained()


def grace_hopper() -> str:
    """A photograph that is on every machine with matplotlib."""
    return cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)


def test_the_default_is_there() -> None:
    assert DEFAULT in NAMES == sorted(NAMES)
    assert {path.stem for path in BOX.glob("*.safetensors")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_file(name: str) -> None:
    path = BOX / f"{name}.safetensors"
    assert path.stat().st_size <= 4_000_000
    tensors, _ = read_file(path)
    dtypes = {array.dtype for array in tensors.values() if array.ndim > 1}
    assert dtypes == {np.dtype(np.float16)}
    assert {tensors[f"model.head.bn.{part}"].dtype for part in ("weight", "running_var")} == {np.dtype(np.float32)}
    assert tensors["model.head.bn.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize("name", NAMES)
def test_model(name: str) -> None:
    model, about = levit_ref.load_pretrained(name), levit_ref.read_about(name)
    assert not any(module.training for _, module in model.named_modules())
    assert model.dtype == np.float32
    assert np.isfinite(model.flat_data).all()
    assert np.isfinite(model.flat_buffers).all()
    assert name == f"{model.config.name}-{about.dataset}"
    assert len(about.class_names) == len(set(about.class_names)) == model.num_classes
    assert about.preprocessing.size == model.image_size
    assert about.accuracy is not None
    assert 1 / model.num_classes < about.accuracy < 1
    assert all(command.startswith("levit-ref train ") for command in about.training["commands"])
    again = levit_ref.load_pretrained(name)
    again.flat_data[:] = 0
    assert model.flat_data.any()  # every call reads a model of its own


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_a_photograph_agree_between_backends(name: str) -> None:
    model, about = levit_ref.load_pretrained(name), levit_ref.read_about(name)
    logits = {}
    for backend in levit_ref.available_backends():
        with levit_ref.use_backend(backend):
            logits[backend] = model(levit_ref.prepare_images(grace_hopper(), about))  # (1, K)
    assert np.isfinite(logits["numpy"]).all()
    assert np.ptp(logits["numpy"]) > 0.5  # a trained network has an opinion
    for backend, values in logits.items():
        np.testing.assert_allclose(values, logits["numpy"], rtol=1e-4, atol=1e-4, err_msg=backend)


def test_it_is_the_model_of_the_file() -> None:
    from_file = load_checkpoint(BOX / f"{DEFAULT}.safetensors")
    by_name = load_checkpoint(DEFAULT)
    assert from_file.about == by_name.about == levit_ref.read_about(DEFAULT)
    images = levit_ref.prepare_images(grace_hopper(), by_name)
    for model in by_name.model, levit_ref.load_pretrained(DEFAULT):
        np.testing.assert_array_equal(from_file.model(images), model(images))


def test_it_can_be_trained_further() -> None:
    model = levit_ref.load_pretrained(DEFAULT)
    model.train()
    logits = model(np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32))
    model.backward(np.ones_like(logits))
    assert np.isfinite(model.flat_grad).all()
    assert model.flat_grad.any()


def test_an_unknown_name_raises_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no pretrained model 'levit_1m-cifar10'; did you mean .*levit_1m_32px-"):
        levit_ref.load_pretrained("levit_1m-cifar10")
    with pytest.raises(ValueError, match=f"no pretrained model 'x'; there is .*{DEFAULT}"):
        levit_ref.load_pretrained("x")
    with pytest.raises(ValueError, match=r"no pretrained model '\.\./models'"):
        levit_ref.load_pretrained("../models")
    for function in levit_ref.load_checkpoint, levit_ref.read_about:
        with pytest.raises(ValueError, match=r"levit_1m-cifar10: no such file, and no such pretrained model; did you"):
            function("levit_1m-cifar10")
        with pytest.raises(ValueError, match=f"x: no such file, and no such pretrained model; those .*{DEFAULT}"):
            function("x")
        with pytest.raises(ValueError, match=f"levit_384 is a variant without trained weights; .*{DEFAULT}"):
            function("levit_384")
        with pytest.raises(FileNotFoundError, match=r"\.\./models"):
            function("../models")
        with pytest.raises(TypeError, match="a checkpoint is a path or a name, got int"):
            function(3)  # type: ignore[arg-type]


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    content = (BOX / f"{DEFAULT}.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:100_000])
    (tmp_path / "notes.txt").write_text("no model")
    assert levit_ref.list_pretrained() == ["cut"]
    for function in levit_ref.load_pretrained, levit_ref.load_checkpoint, levit_ref.read_about:
        with pytest.raises(CheckpointError, match=r"cut\.safetensors: .*cut short"):
            function("cut")
    (tmp_path / "cut.safetensors").unlink()
    with pytest.raises(ValueError, match="no pretrained model 'cut'; there is none"):
        levit_ref.load_pretrained("cut")


def test_saving_it_again_changes_nothing(tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(DEFAULT), tmp_path / "again.safetensors", half=True)
    assert (tmp_path / "again.safetensors").read_bytes() == (BOX / f"{DEFAULT}.safetensors").read_bytes()
    ours, again = (read_file(path)[0] for path in (BOX / f"{DEFAULT}.safetensors", tmp_path / "again.safetensors"))
    assert list(ours) == list(again)
    for name, array in ours.items():
        assert (array.dtype, array.tobytes()) == (again[name].dtype, again[name].tobytes()), name


def test_wheel_and_sdist_contain_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    build = distribution.get_command_obj("build_py")  # what both are made from
    build.ensure_finalized()
    packed = {package: set(files) for package, _, _, files in build.data_files}
    assert packed["levit_ref.pretrained"] == {f"{name}.safetensors" for name in NAMES}


@pytest.mark.parametrize("module", [levit_ref, levit_ref.pretrained, checkpoint])
def test_examples_of_the_docstrings(module: object) -> None:
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)  # type: ignore[arg-type]
    assert (failed, tried > 0) == (0, True)
