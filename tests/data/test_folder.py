"""Folders of pictures: finding the files, splitting them, decoding them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from levit_ref.data import Loader, load_folder
from levit_ref.files import FileError
from levit_ref.preprocessing import Preprocessing, read_picture


def write_picture(path: Path, colour: tuple[int, int, int] = (200, 100, 50), size: tuple[int, int] = (12, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, count in (("dog", 10), ("cat", 7)):
        for k in range(count):
            write_picture(tmp_path / name / f"{k}.png", (200 if name == "cat" else 0, 10 * k, 0))
    return tmp_path


def found(root: Path, split: str) -> set[str]:
    return {str(file.relative_to(root)) for file in load_folder(root, split).files}


def test_one_folder_a_class(root: Path) -> None:
    train, test = load_folder(root, "train", 8), load_folder(root, "test", (4, 6))
    assert train.classes == test.classes == ("cat", "dog")
    assert train.image_shape == (3, 8, 8)
    assert test.image_shape == (3, 4, 6)
    assert np.bincount(train.labels).tolist() == [5, 8]
    assert np.bincount(test.labels).tolist() == [2, 2]
    assert load_folder(root, "train").image_shape == (3, 224, 224)
    batch = train.batch([0, len(train) - 1])
    assert batch.shape == (2, 3, 8, 8)
    for picture, place in zip(batch, (0, -1), strict=True):
        red = 200 if train.labels[place] == 0 else 0
        green = 10 * int(train.files[place].stem)
        np.testing.assert_array_equal(picture, np.broadcast_to(np.array([red, green, 0])[:, None, None], (3, 8, 8)))


def test_the_split_is_a_partition_and_depends_on_the_names_only(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    train, test = found(root, "train"), found(root, "test")
    assert not train & test
    assert len(train | test) == 17
    assert test == {"cat/0.png", "cat/5.png", "dog/5.png", "dog/7.png"}  # on every machine
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(root, copy)
    assert found(copy, "test") == test


def test_every_class_keeps_a_training_picture(tmp_path: Path) -> None:
    for name, count in (("one", 1), ("two", 2)):
        for k in range(count):
            write_picture(tmp_path / name / f"{k}.png")
    assert np.bincount(load_folder(tmp_path, "train").labels).tolist() == [1, 1]
    assert load_folder(tmp_path, "test").labels.tolist() == [1]


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_split_that_the_folders_make(tmp_path: Path, held_out: str) -> None:
    for file in ("train/a/1.png", "train/b/1.png", "train/b/2.jpg", f"{held_out}/b/3.png"):
        write_picture(tmp_path / file)
    assert found(tmp_path, "train") == {"train/a/1.png", "train/b/1.png", "train/b/2.jpg"}
    assert found(tmp_path, "test") == {f"{held_out}/b/3.png"}
    test = load_folder(tmp_path, "test")
    assert test.classes == ("a", "b")  # the classes are those of the training
    assert test.labels.tolist() == [1]


def test_folders_that_make_a_split_with_something_missing(tmp_path: Path) -> None:
    write_picture(tmp_path / "train/a/1.png")
    with pytest.raises(FileError, match=r"has train/ but neither test/ nor val/"):
        load_folder(tmp_path, "test")
    write_picture(tmp_path / "test/z/1.png")
    with pytest.raises(FileError, match=r"test: class z is not in .*train"):
        load_folder(tmp_path, "test")


def test_what_is_no_picture_does_not_count(root: Path) -> None:
    before = found(root, "train") | found(root, "test")
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / "._1.png").write_bytes(b"x")
    (root / "readme.md").write_text("x")
    write_picture(root / ".thumbnails" / "1.png")
    assert found(root, "train") | found(root, "test") == before


def test_folders_without_classes_or_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data_dir .*nowhere is not a folder"):
        load_folder(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        load_folder(tmp_path, "val")
    with pytest.raises(FileError, match="no class folder in it"):
        load_folder(tmp_path, "train")
    write_picture(tmp_path / "full" / "1.png")
    with pytest.raises(FileError, match="too few pictures"):
        load_folder(tmp_path, "test")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(FileError, match="hollow: no picture in it"):
        load_folder(tmp_path, "train")


def test_a_damaged_picture_is_named_also_from_a_thread(root: Path) -> None:
    victim = load_folder(root, "train").files[3]
    victim.write_bytes(victim.read_bytes()[:50])
    dataset = load_folder(root, "train", 8)
    dataset.batch([0, 1, 2])  # pictures are decoded when they are asked for
    with pytest.raises(FileError, match=rf"^{victim}: cannot be read as a picture"):
        dataset.batch([3])
    with pytest.raises(FileError, match=rf"^{victim}: cannot be read as a picture"):
        list(Loader(dataset, 2, Preprocessing((8, 8))).epoch(0))


def test_pictures_of_every_mode_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "LA", "P", "RGBA", "CMYK", "1", "I;16"):
        path = tmp_path / f"{mode.replace(';', '')}.{'tif' if mode in ('CMYK', 'I;16') else 'png'}"
        Image.new(mode, (6, 6)).save(path)
        picture = read_picture(path, Preprocessing((4, 4)))
        assert (picture.shape, picture.dtype) == ((3, 4, 4), np.uint8)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA"])
def test_a_file_of_another_kind_is_no_picture_whatever_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cat.jpg"
    Image.new("RGB", (12, 8)).save(path, format=kind)
    with pytest.raises(FileError, match=r"cat\.jpg: cannot be read as a picture \(cannot identify image file"):
        read_picture(path, Preprocessing((4, 4)))


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"])
def test_every_suffix_of_a_picture_can_be_read(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"cat.{suffix}")
    picture = read_picture(tmp_path / f"cat.{suffix}", Preprocessing((8, 12)))
    np.testing.assert_allclose(picture.mean(axis=(1, 2)), [200, 100, 50], atol=4)


def test_the_turn_in_the_exif_tag_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = 255  # upper half white
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    picture = read_picture(tmp_path / "turned.png", Preprocessing((4, 4)))
    assert (picture[:, :2] == 0).all()
    assert (picture[:, 2:] == 255).all()


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_picture(tmp_path / "none.png", Preprocessing((4, 4)))
