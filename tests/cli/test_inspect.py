from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import levit_ref
from levit_ref.checkpoints import About, Checkpoint, load_checkpoint, read_about, save_checkpoint
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from levit_ref.preprocessing import Preprocessing
from levit_ref.pretrained import DEFAULT

from .conftest import Run, error_line


@pytest.fixture(scope="module")
def small(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest network, with fresh weights, that says it was trained on shapes."""
    path = tmp_path_factory.mktemp("small") / "best.safetensors"
    model = levit_ref.create_model("levit_250k_32px", num_classes=10, seed=3)
    rng = np.random.default_rng(0)
    model.flat_data += rng.normal(0, 0.05, model.flat_data.shape).astype(
        np.float32
    )  # biases, and norms that start at 0
    about = read_about(checkpoint)
    save_checkpoint(Checkpoint(model, About(about.preprocessing, about.class_names, "shapes")), path)
    return path


def test_arrays_and_figures_are_written(run: Run, small: Path, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = run(
        "inspect", picture, "-m", small, "-o", folder, "--test-size", "8", "--json", "--at", "3,31", "--class", "2"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    files = {Path(entry["file"]) for entry in report["files"]}
    assert files == {path for path in folder.rglob("*") if path.is_file()}  # and nothing temporary is left
    names = {path.relative_to(folder).as_posix() for path in files}
    assert names == {
        "activations.npz",
        "attention/stages.0.blocks.0.attn.png",
        "attention/stages.1.downsample.attn_downsample.png",
        "attention/stages.1.blocks.0.attn.png",
        "rollout.png",
        "attention_distance.png",
        "position_bias.png",
        "saliency.png",
        "activation_statistics.png",
        "first_filters.png",
        "receptive_fields.png",
        "layer_similarity.png",
        "importance.png",
    }
    for path in files - {folder / "activations.npz"}:
        with Image.open(path) as figure:
            assert figure.width >= 500, path
    assert all(entry["about"] for entry in report["files"])


def test_the_arrays_are_those_of_the_model(run: Run, small: Path, picture: Path, tmp_path: Path) -> None:
    result = run("inspect", picture, "-m", small, "-o", tmp_path, "--no-figures")
    read = load_checkpoint(small)
    model, about = read.model, read.about
    images = levit_ref.prepare_images(picture, about)
    logits, acts = levit_ref.run_with_activations(model, images, "*")
    with np.load(tmp_path / "activations.npz") as arrays:
        assert list(arrays) == list(acts) == [spec.name for spec in model.activation_specs()]
        for name in acts:
            np.testing.assert_array_equal(arrays[name], acts[name])
    assert result.stdout.startswith(f"{picture}: {about.class_names[int(logits.argmax())]}, ")
    assert f"{len(acts)} arrays" in result.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "activations.npz"]


def test_names_may_be_chosen_and_files_replaced(run: Run, small: Path, picture: Path, tmp_path: Path) -> None:
    for names in (["-n", "*.probs"], ["--name", "pooled", "--name", "stem.*"]):
        result = run("inspect", picture, "-m", small, "-o", tmp_path, "--no-figures", *names)
        assert result.exit_code == 0, result.output
    with np.load(tmp_path / "activations.npz") as arrays:
        assert set(arrays) == {"pooled"} | {name for name in arrays if name.startswith("stem.")}
        assert len(arrays) > 5


def test_the_picture_runs_once_and_for_its_gradient(
    run: Run, small: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other passes are of several pictures at once: points of a path, probes, and pictures of the dataset."""
    images: list[Array] = []
    forward = LeViT.forward

    def note(self: LeViT, x: Array, *args: object) -> Array:
        if len(x) == 1 and self.num_classes == 10 and x.any():  # not of the twin, and not to learn the names
            images.append(x)
        return forward(self, x, *args)

    monkeypatch.setattr(LeViT, "forward", note)
    for options, times in (["--no-figures"], 1), (["-n", "pooled", "--test-size", "8"], 2):
        images.clear()
        result = run("inspect", picture, "-m", small, "-o", tmp_path, *options)
        assert result.exit_code == 0, result.output
        assert len(images) == times
        np.testing.assert_array_equal(images[0], images[-1])
    with np.load(tmp_path / "activations.npz") as arrays:
        assert list(arrays) == ["pooled"]
    assert (tmp_path / "importance.png").is_file()


def test_what_there_is_nothing_for_is_left_out(run: Run, picture: Path, tmp_path: Path) -> None:
    path = tmp_path / "a5.safetensors"
    model = levit_ref.create_model("levit_250k_32px_a5_no_attention_bias", num_classes=4, dtype=np.float64)
    save_checkpoint(Checkpoint(model, About(Preprocessing(model.image_size))), path)
    # it is of float64, has no bias tables, and does not say what it was trained on
    result = run("inspect", picture, "-m", path, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    written = {file.stem for file in (tmp_path / "out").iterdir()}
    assert "saliency" in written
    assert not written & {"position_bias", "layer_similarity", "importance"}
    with np.load(tmp_path / "out" / "activations.npz") as arrays:
        assert arrays["logits"].dtype == np.float64


def test_without_a_model_the_one_in_the_box_is_taken_and_says_what_it_is(
    run: Run, picture: Path, tmp_path: Path
) -> None:
    options = (picture, "-o", tmp_path, "-n", "logits", "--no-figures")
    lines = run("inspect", *options).stdout.splitlines()
    about = levit_ref.read_about(DEFAULT)
    assert lines[0].startswith(f"{DEFAULT}, trained on cifar10, test accuracy ")
    with np.load(tmp_path / "activations.npz") as arrays:
        assert lines[1].startswith(f"{picture}: {about.class_names[int(arrays['logits'].argmax())]}, ")
    assert json.loads(run("inspect", *options, "--json").stdout)["model"] == DEFAULT
    assert "no such pretrained model" in error_line(run("inspect", *options, "-m", "levit_1m"))


def test_a_variant_is_refused_since_fresh_weights_would_look_like_a_discovery(
    run: Run, picture: Path, tmp_path: Path
) -> None:
    line = error_line(run("inspect", picture, "-m", "levit_1m_32px", "-o", tmp_path / "out"))
    assert line.startswith("levit_1m_32px is a variant without trained weights")
    assert DEFAULT in line
    assert not (tmp_path / "out").exists()


def test_errors_name_what_is_wrong(run: Run, small: Path, picture: Path, tmp_path: Path) -> None:
    def refused(*options: object) -> str:
        return error_line(run("inspect", picture, "-m", small, "-o", tmp_path / "out", *options))

    assert "the nearest are" in refused("-n", "stages.*.atn.probs")
    assert "--at must be a row below 32 and a column below 32" in refused("--at", "12")
    assert "--at" in refused("--at", "12,32")
    assert "--class must be a number below 10, or one of" in refused("--class", "unicorn")
    assert "--class" in refused("--class", "10")
    assert "imagenet" in refused("--dataset", "imagenet")
    assert "cifar" in refused("--dataset", "cifar10", "--data-dir", tmp_path)
    assert not (tmp_path / "out").exists()

    assert "gone.png" in error_line(run("inspect", tmp_path / "gone.png", "-m", small, "-o", tmp_path))
    assert error_line(run("inspect", small, "-m", small, "-o", tmp_path)).startswith(f"{small}: ")
    assert "--output" in error_line(run("inspect", picture, "-m", small))
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert str(file) in error_line(run("inspect", picture, "-m", small, "-o", file, "--no-figures"))
