from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import levit_ref
from levit_ref.checkpoints import About, Checkpoint, load_checkpoint, save_checkpoint
from levit_ref.data import load_dataset
from levit_ref.evaluation import evaluate
from levit_ref.pretrained import DEFAULT
from tests.data.cifar_files import cifar10_contents, write_folder

from .conftest import Run, error_line


def test_json_says_what_evaluate_finds(run: Run, checkpoint: Path) -> None:
    result = run("eval", checkpoint, "--test-size", "100", "--json")
    data = json.loads(result.stdout)

    dataset = load_dataset("shapes", "test", size=100)
    expected = evaluate(load_checkpoint(checkpoint), dataset)
    assert result.exit_code == 0
    assert (data["dataset"], data["split"], data["pictures"]) == ("shapes", "test", 100)
    assert (data["accuracy"], data["top5"]) == (expected.accuracy, expected.top5)
    assert data["loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert data["confusion"] == expected.confusion.tolist()


def test_class_lines_follow_from_the_confusions(run: Run, checkpoint: Path) -> None:
    data = json.loads(run("eval", checkpoint, "--test-size", "100", "--json").stdout)
    confusion = np.array(data["confusion"])  # (is, called)
    names = [line["class"] for line in data["classes"]]
    for i, line in enumerate(data["classes"]):
        assert line["pictures"] == confusion[i].sum()
        assert line["recall"] == pytest.approx(confusion[i, i] / confusion[i].sum())
        called = confusion[:, i].sum()
        assert (line["precision"] is None) == (called == 0)
        if called:
            assert line["precision"] == pytest.approx(confusion[i, i] / called)
        if line["taken_for"] is not None:
            j = names.index(line["taken_for"])
            assert j != i
            assert confusion[i, j] == line["taken_for_count"] == np.delete(confusion[i], i).max()


def test_text_has_every_class_and_the_totals(run: Run, checkpoint: Path) -> None:
    result = run("eval", checkpoint.parent, "--test-size", "60")
    data = json.loads(run("eval", checkpoint, "--test-size", "60", "--json").stdout)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:12]] == [line["class"] for line in data["classes"]]
    assert lines[-1].split() == [
        "accuracy", f"{data['accuracy']:.2%}", "top-5", f"{data['top5']:.2%}", "loss", f"{data['loss']:.4f}",
    ]  # fmt: skip
    assert result.stderr == ""  # the bar is for terminals


def test_the_training_split_is_another(run: Run, checkpoint: Path) -> None:
    losses = [
        json.loads(run("eval", checkpoint, "--test-size", "50", "--split", split, "--json").stdout)["loss"]
        for split in ("test", "train")
    ]
    assert losses[0] != losses[1]


def test_batch_size_does_not_matter(run: Run, checkpoint: Path) -> None:
    results = [
        json.loads(run("eval", checkpoint, "--test-size", "50", "--batch-size", size, "--json").stdout)
        for size in (7, 50)
    ]
    assert results[0]["confusion"] == results[1]["confusion"]


def test_confusion_is_drawn(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    assert run("eval", checkpoint, "--test-size", "30", "--confusion", path).exit_code == 0
    with Image.open(path) as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 100


def test_a_folder_of_pictures(run: Run, checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    read = load_checkpoint(checkpoint)
    for name in read.about.class_names:
        for split in "train", "test":
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "1.png").write_bytes(picture.read_bytes())
    ordered = tmp_path / "ordered.safetensors"
    about = About(read.preprocessing, tuple(sorted(read.about.class_names)), "folder")
    save_checkpoint(Checkpoint(read.model, about), ordered)
    data = json.loads(run("eval", ordered, "--data-dir", tmp_path, "--json").stdout)
    assert (data["pictures"], data["accuracy"]) == (10, 0.1)  # the same picture in each class
    assert "data_dir" in error_line(run("eval", ordered))
    # right number of classes, wrong meaning
    message = error_line(run("eval", checkpoint, "--dataset", "folder", "--data-dir", tmp_path))
    assert "class 0 of the model is circle" in message


@pytest.mark.parametrize("words", [[], [DEFAULT], ["--model", DEFAULT], [DEFAULT, "-m", DEFAULT]])
def test_the_model_in_the_box(run: Run, tmp_path: Path, words: list[str]) -> None:
    about = levit_ref.read_about(DEFAULT)
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_contents(6))
    data = json.loads(run("eval", *words, "--data-dir", tmp_path, "--json").stdout)
    assert (data["model"], data["dataset"], data["pictures"]) == (DEFAULT, "cifar10", 6)

    dataset = load_dataset("cifar10", "test", tmp_path)
    expected = evaluate(levit_ref.load_pretrained(DEFAULT), dataset, preprocessing=about)
    assert data["loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert data["accuracy"] == expected.accuracy
    assert "no such pretrained model" in error_line(run("eval", "levit_1m"))


def test_errors_name_what_is_wrong(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    read = load_checkpoint(checkpoint)
    anonymous = tmp_path / "anonymous.safetensors"
    save_checkpoint(Checkpoint(read.model, About(read.preprocessing)), anonymous)
    (tmp_path / "noise.safetensors").write_bytes(b"\0" * 64)
    assert "--dataset" in error_line(run("eval", anonymous))
    assert "'vali'" in error_line(run("eval", checkpoint, "--split", "vali"))
    assert "'imagenet'" in error_line(run("eval", checkpoint, "--dataset", "imagenet"))
    assert error_line(run("eval", tmp_path / "gone.safetensors")).startswith(f"{tmp_path / 'gone.safetensors'}: ")
    assert error_line(run("eval", tmp_path / "noise.safetensors")).startswith(f"{tmp_path / 'noise.safetensors'}: ")
    assert "levit_1m_32px is a variant without trained weights" in error_line(run("eval", "levit_1m_32px"))
    assert "two models for one command" in error_line(run("eval", checkpoint, "--model", DEFAULT))
    assert "does not exist" in error_line(run("eval", checkpoint, "--confusion", tmp_path / "no" / "c.png"))


def test_a_model_whose_logits_are_all_equal_gets_nothing_right_and_one_of_nan_is_an_error(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    read = load_checkpoint(checkpoint)
    model, file = read.model, tmp_path / "spoilt.safetensors"
    for head in model.head, model.head_dist:
        if head is not None:
            head.linear.weight.data[:] = 0
    save_checkpoint(read, file)
    data = json.loads(run("eval", file, "--test-size", "20", "--json").stdout)
    assert (data["accuracy"], data["top5"]) == (0, 0)
    assert model.head.linear.bias is not None
    model.head.linear.bias.data[:] = np.nan
    save_checkpoint(read, file)
    for words in [], ["--json"]:
        message = error_line(run("eval", file, "--test-size", "20", *words))
        assert message == f"{file}: levit_1m_32px: the logits are not finite, since head.linear.bias is not"
