from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import levit_ref
from levit_ref.checkpoints import About, Checkpoint, load_checkpoint, save_checkpoint
from levit_ref.data import load_dataset
from levit_ref.pretrained import DEFAULT

from .conftest import Run, error_line


def test_probabilities_are_those_of_the_model(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    dataset = load_dataset("shapes", "test", size=3)
    pixels = dataset.batch([2])  # (1, 3, 32, 32): the size of the model, so that nothing is resampled
    path = tmp_path / "shape.png"
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(path)

    result = run("predict", path, "--model", checkpoint, "--top", "10", "--json")
    (found,) = json.loads(result.stdout)

    read = load_checkpoint(checkpoint)
    with read.model.inference():
        logits = read.model(read.preprocessing.normalise(pixels))[0].astype(float)  # (K,)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert result.exit_code == 0
    assert found["image"] == str(path)
    assert [line["index"] for line in found["predictions"]] == list(np.argsort(-expected))
    for line in found["predictions"]:
        assert line["probability"] == pytest.approx(expected[line["index"]], rel=1e-6)
        assert line["class"] == dataset.classes[line["index"]]


def test_text_shows_the_five_best(run: Run, checkpoint: Path, picture: Path) -> None:
    lines = run("predict", picture, "-m", checkpoint).stdout.splitlines()
    assert lines[0] == str(picture)  # in full, however long
    shares = [float(line.split()[0].rstrip("%")) for line in lines[1:]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert len(run("predict", picture, "-m", checkpoint, "--top", "2").stdout.splitlines()) == 3
    assert len(run("predict", picture, "-m", checkpoint, "--top", "99").stdout.splitlines()) == 11


@pytest.mark.parametrize(
    ("mode", "size", "suffix"),
    [
        ("L", (32, 32), "png"),
        ("LA", (20, 90), "png"),
        ("P", (1, 1), "gif"),
        ("RGBA", (300, 40), "png"),
        ("CMYK", (50, 40), "jpg"),
        ("1", (33, 32), "bmp"),
    ],
)
def test_any_mode_and_size(
    run: Run, checkpoint: Path, tmp_path: Path, mode: str, size: tuple[int, int], suffix: str
) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new(mode, size).save(path)
    result = run("predict", path, "-m", checkpoint, "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)[0]["predictions"]) == 5


def test_exif_orientation_is_obeyed(run: Run, checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn right by 90 degrees to see it upright"
    with Image.open(picture) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    (turned,) = json.loads(run("predict", tmp_path / "turned.png", "-m", checkpoint, "--json").stdout)
    (upright_too,) = json.loads(run("predict", picture, "-m", checkpoint, "--json").stdout)
    assert turned["predictions"] == upright_too["predictions"]


def test_bad_pictures_are_reported_and_the_others_classified(
    run: Run, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.png"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no more")
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(picture.read_bytes()[:2000])
    images = (broken, picture, missing, truncated, tmp_path)

    result = run("predict", *images, "-m", checkpoint, "--json")
    records = json.loads(result.stdout)  # one document, in order
    assert result.exit_code == 2
    assert [record["image"] for record in records] == [str(path) for path in images]
    assert ["predictions" in record for record in records] == [False, True, False, False, False]
    complaints = result.stderr.splitlines()
    assert len(complaints) == 4
    for path, complaint in zip((broken, missing, truncated, tmp_path), complaints, strict=True):
        assert complaint.startswith(f"levit-ref: error: {path}: ")

    assert str(picture) in run("predict", *images, "-m", checkpoint).stdout


def test_classes_without_names_have_numbers(run: Run, checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    read = load_checkpoint(checkpoint)
    save_checkpoint(Checkpoint(read.model, About(read.preprocessing)), tmp_path / "nameless.safetensors")
    (found,) = json.loads(run("predict", picture, "-m", tmp_path / "nameless.safetensors", "--json").stdout)
    assert all(line["class"] == str(line["index"]) for line in found["predictions"])


def test_without_a_model_the_one_in_the_box_is_taken_and_says_what_it_is(run: Run, picture: Path) -> None:
    about = levit_ref.read_about(DEFAULT)
    result = run("predict", picture)
    assert result.exit_code == 0, result.output
    first, second, *found = result.stdout.splitlines()
    assert first == (
        f"{DEFAULT}, trained on cifar10, test accuracy {about.accuracy:.1%}; it knows {', '.join(about.class_names)}"
    )
    assert (second, len(found)) == (str(picture), 5)
    assert run("predict", picture, "--model", DEFAULT).stdout == result.stdout

    (data,) = json.loads(run("predict", picture, "--top", "10", "--json").stdout)  # JSON and nothing else
    model = levit_ref.load_pretrained(DEFAULT)
    logits = model(levit_ref.prepare_images(picture, about))[0].astype(float)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert data["model"] == DEFAULT
    for line in data["predictions"]:
        assert line["class"] == about.class_names[line["index"]]
        assert line["probability"] == pytest.approx(probabilities[line["index"]], rel=1e-4)


def test_a_pretrained_name_wins_over_a_file_of_that_name(
    run: Run, checkpoint: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).write_bytes(checkpoint.read_bytes())
    assert "airplane" in run("predict", picture, "-m", DEFAULT, "--top", "10").stdout
    assert "airplane" not in run("predict", picture, "-m", f"./{DEFAULT}", "--top", "10").stdout


def test_errors_name_what_is_wrong(run: Run, checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:5000])
    assert error_line(run("predict", picture, "-m", cut)).startswith(f"{cut}: ")
    assert error_line(run("predict", picture, "-m", picture)).startswith(f"{picture}: ")
    assert "gone.safetensors" in error_line(run("predict", picture, "-m", tmp_path / "gone.safetensors"))
    assert error_line(run("predict", picture, "-m", tmp_path)).startswith(f"{tmp_path}: a folder without a checkpoint")
    message = error_line(run("predict", picture, "-m", "levit_1m_32px"))
    assert message.startswith("levit_1m_32px is a variant without trained weights; give a checkpoint")
    assert DEFAULT in message
    assert "images" in error_line(run("predict", "-m", checkpoint)).lower()
    assert "--top" in error_line(run("predict", picture, "-m", checkpoint, "--top", "0"))


def test_a_model_that_is_broken_is_named(run: Run, checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    broken = load_checkpoint(checkpoint)
    assert broken.model.head.linear.bias is not None
    broken.model.head.linear.bias.data[3] = np.nan
    save_checkpoint(broken, tmp_path / "nan.safetensors")
    for words in [], ["--json"]:
        message = error_line(run("predict", picture, "-m", tmp_path / "nan.safetensors", *words))
        assert message.startswith(f"{tmp_path / 'nan.safetensors'}: levit_1m_32px: the logits are not finite")


def test_many_pictures_are_one_document(run: Run, checkpoint: Path, picture: Path) -> None:
    records = json.loads(run("predict", *[picture] * 70, "-m", checkpoint, "--json").stdout)
    assert len(records) == 70
    assert all(record["predictions"] == records[0]["predictions"] for record in records[:32])


def test_class_names_cannot_write_to_the_terminal(run: Run, checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    read = load_checkpoint(checkpoint)
    names = ("\x1b[31mred", "a\nb", "\x1b]0;title\x07", "é", *read.about.class_names[4:])
    file = tmp_path / "loud.safetensors"
    save_checkpoint(Checkpoint(read.model, About(read.preprocessing, names, "\x1b[31mx")), file)
    result = run("predict", picture, "-m", file, "--top", "10")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 11
    assert not set("\x1b\x07") & set(result.stdout)
    assert r"\x1b[31mred" in result.stdout
    assert "é" in result.stdout
    assert r"\x1b[31mx" in error_line(run("eval", file))
    (found,) = json.loads(run("predict", picture, "-m", file, "--top", "10", "--json").stdout)
    assert {line["class"] for line in found["predictions"]} == set(names)
