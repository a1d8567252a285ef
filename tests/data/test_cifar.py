"""CIFAR-10 and CIFAR-100: official files and home-made ones, from everywhere, and every way to be damaged."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levit_ref.data import DownloadError, cifar, load_cifar
from levit_ref.files import FileError
from tests.data.cifar_files import (
    CIFAR10_NAMES,
    Dumps,
    add_member,
    cifar10_contents,
    cifar100_contents,
    pictures,
    python2_dumps,
    python3_dumps,
    write_folder,
    write_tar,
)
from tests.files.server import serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "cifar-10-batches-py", cifar10_contents())


@pytest.mark.parametrize("dumps", [python2_dumps, python3_dumps])
def test_cifar10(tmp_path: Path, dumps: Dumps) -> None:
    contents = cifar10_contents()
    write_folder(tmp_path, contents, dumps)
    train, test = load_cifar("cifar10", "train", tmp_path), load_cifar("cifar10", "test", tmp_path)
    assert (len(train), len(test)) == (20, 4)
    assert train.classes == test.classes == tuple(CIFAR10_NAMES)
    assert train.image_shape == (3, 32, 32)
    batches = [contents[f"data_batch_{k}"] for k in range(1, 6)]
    np.testing.assert_array_equal(train.labels, np.concatenate([batch["labels"] for batch in batches]))
    np.testing.assert_array_equal(train.images.reshape(20, -1), np.concatenate([batch["data"] for batch in batches]))
    np.testing.assert_array_equal(test.images.reshape(4, -1), contents["test_batch"]["data"])


def test_a_row_is_the_red_plane_then_green_then_blue(folder: Path) -> None:
    contents = cifar10_contents(1)
    contents["test_batch"]["data"] = (np.arange(3072) // 32 % 256).astype(np.uint8)[None]  # each row of pixels
    write_folder(folder, contents)
    image = load_cifar("cifar10", "test", folder).images[0]
    assert image[0, 0, 31] == 0
    assert image[0, 31, 0] == 31
    assert image[1, 0, 0] == 32
    assert image[2, 5, 9] == 69


@pytest.mark.parametrize("dumps", [python2_dumps, python3_dumps])
def test_cifar100_has_the_fine_labels(tmp_path: Path, dumps: Dumps) -> None:
    contents = cifar100_contents()
    write_folder(tmp_path / "cifar-100-python", contents, dumps)
    for split in ("train", "test"):
        dataset = load_cifar("cifar100", split, tmp_path)
        assert len(dataset.classes) == 100
        assert dataset.classes[7] == "fine 7"
        np.testing.assert_array_equal(dataset.labels, contents[split]["fine_labels"])
        np.testing.assert_array_equal(dataset.images.reshape(8, -1), contents[split]["data"])


def test_files_that_people_made(tmp_path: Path) -> None:
    """Protocol 4, `str` keys, other class names, another number of pictures in each file, labels in an array."""
    contents = cifar10_contents(names=["tea", "kaffee", "maté"])
    for k, file in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        contents[file] = {"data": pictures(k + 1, k), "labels": np.arange(k + 1, dtype=np.uint8) % 3}
    contents["batches.meta"] = {"label_names": ("tea", "kaffee", "maté")}
    write_folder(tmp_path, contents, python3_dumps)
    train = load_cifar("cifar10", "train", tmp_path)
    assert train.classes == ("tea", "kaffee", "maté")
    assert len(train) == 15
    assert train.labels.dtype == np.int64
    np.testing.assert_array_equal(train.labels[-5:], [0, 1, 2, 0, 1])
    assert len(load_cifar("cifar10", "test", tmp_path)) == 6


def test_every_place_that_data_dir_can_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = cifar10_contents()
    (tmp_path / "packed").mkdir()
    archive = write_tar(tmp_path / "packed" / "cifar-10-python.tar.gz", contents, folder="cifar-10-batches-py/")
    renamed = write_tar(tmp_path / "my own copy.tgz", contents, python3_dumps)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = load_cifar("cifar10", "train", folder).images
    for place in (folder.parent, str(folder), archive, archive.parent, renamed, "~/packed", "~/cifar-10-batches-py"):
        np.testing.assert_array_equal(load_cifar("cifar10", "train", place).images, expected)


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data_dir .*nowhere does not exist"):
        load_cifar("cifar10", "train", tmp_path / "nowhere")
    expected = r"holds none of batches\.meta, cifar-10-batches-py/, cifar-10-python\.tar\.gz"
    with pytest.raises(FileNotFoundError, match=expected):
        load_cifar("cifar10", "train", tmp_path)
    write_folder(tmp_path, cifar100_contents())
    with pytest.raises(FileNotFoundError, match=expected):
        load_cifar("cifar10", "train", tmp_path)


def test_wrong_arguments(folder: Path) -> None:
    with pytest.raises(ValueError, match="name must be one of cifar10, cifar100, got 'cifar11'"):
        load_cifar("cifar11", "train", folder)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        load_cifar("cifar10", "val", folder)


def test_a_missing_file(folder: Path) -> None:
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py: data_batch_3 missing; expected data_batch_1, "):
        load_cifar("cifar10", "train", folder)
    load_cifar("cifar10", "test", folder)  # needs none of the others


def test_a_truncated_file(folder: Path) -> None:
    file = folder / "data_batch_2"
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(FileError, match=rf"^{re.escape(str(file))}: not a readable pickle, truncated or damaged"):
        load_cifar("cifar10", "train", folder)


def _break(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda batch: batch.__setitem__(key, value)


@pytest.mark.parametrize("dumps", [python2_dumps, python3_dumps])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _break("data", pictures(4, 0)[:, 1:]),
            r"'data' must be a uint8 array of shape \(n, 3072\), got uint8 \(4, 3071\)",
        ),
        (_break("data", pictures(4, 0).reshape(4, 3, 32, 32)), r"got uint8 \(4, 3, 32, 32\)"),
        (_break("data", pictures(4, 0).astype(np.float32)), r"got float32 \(4, 3072\)"),
        (_break("data", [1, 2]), "got list"),
        (_break("labels", [0, 1, 2]), r"'labels': labels must have shape \(4,\), one for each picture, got \(3,\)"),
        (_break("labels", [0, 1, 2, 10]), "'labels': label 10 of picture 3 is out of range: there are 10 classes"),
        (_break("labels", np.array([0, -1, 2, 3])), "'labels': label -1 of picture 1 is out of range"),
        (_break("labels", [0.0, 1.0, 2.0, 3.0]), "'labels': labels must be integers, got dtype float64"),
        (_break("labels", [0, [1], 2, 3]), "'labels': "),
        (_break("labels", None), "'labels': "),
        (_break("labels", [[[0] * 30] * 30] * 4), "'labels': labels must be a list or an array of integers"),
        (lambda batch: batch.pop("labels"), "no 'labels' in it, only 'batch_label', 'data', 'filenames'"),
        (lambda batch: batch.pop("data"), "no 'data' in it"),
    ],
)
def test_a_damaged_batch(tmp_path: Path, dumps: Dumps, damage: Callable[[dict[str, Any]], None], message: str) -> None:
    contents = cifar10_contents()
    damage(contents["data_batch_4"])
    folder = write_folder(tmp_path / "folder", contents, dumps)
    archive = write_tar(tmp_path / "some.tar.gz", contents, dumps, folder="in/")
    with pytest.raises(FileError, match=rf"^{re.escape(str(folder / 'data_batch_4'))}: .*{message}"):
        load_cifar("cifar10", "train", folder)
    with pytest.raises(FileError, match=rf"^{re.escape(str(archive))}:in/data_batch_4: .*{message}"):
        load_cifar("cifar10", "train", archive)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"names": ["a"]}, "no 'label_names' in it, only 'names'"),
        ({"label_names": []}, "'label_names' must be a list of class names"),
        ({"label_names": "cat"}, "'label_names' must be a list of class names"),
        ({"label_names": [1, 2]}, "expected a string, got int"),
        ({"label_names": ["cat", "cat"]}, "'label_names' names a class twice"),
    ],
)
def test_damaged_class_names(folder: Path, meta: dict[str, Any], message: str) -> None:
    (folder / "batches.meta").write_bytes(python2_dumps(meta))
    with pytest.raises(FileError, match=rf"batches\.meta: {message}"):
        load_cifar("cifar10", "test", folder)


def test_no_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path, cifar10_contents(0))
    with pytest.raises(FileError, match="holds no pictures in test_batch"):
        load_cifar("cifar10", "test", tmp_path)


def test_an_archive_that_climbs_out_of_its_folder(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in cifar10_contents().items():
            add_member(tar, f"cifar-10-batches-py/{name}", python2_dumps(content))
        add_member(tar, "../outside", b"x")
    with pytest.raises(FileError, match=r"cifar-10-python\.tar\.gz: member '\.\./outside' climbs out of its folder"):
        load_cifar("cifar10", "test", tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


def test_download_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_tar(tmp_path / "made.tar.gz", cifar10_contents(), folder="cifar-10-batches-py/").read_bytes()
    cache = tmp_path / "cache"
    monkeypatch.setenv("LEVIT_REF_CACHE", str(cache))
    with serving(archive) as server:
        with pytest.raises(FileError, match="wrong checksum"):  # it is not the official archive
            load_cifar("cifar10", "test", base_url=server.url)
        assert list(cache.iterdir()) == []
        layout = replace(cifar._LAYOUTS["cifar10"], md5=hashlib.md5(archive).hexdigest())
        monkeypatch.setitem(cifar._LAYOUTS, "cifar10", layout)
        for split, count in (("train", 20), ("test", 4)):
            assert len(load_cifar("cifar10", split, base_url=server.url)) == count
    assert [path for path, _ in server.requests] == ["/kriz/cifar-10-python.tar.gz"] * 2
    assert [file.name for file in cache.iterdir()] == ["cifar-10-python.tar.gz"]


def test_the_official_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVIT_REF_CACHE", str(tmp_path))
    for name, file in (("cifar10", "cifar-10-python.tar.gz"), ("cifar100", "cifar-100-python.tar.gz")):
        by_hand = f"put the file from https://www.cs.toronto.edu/~kriz/{file} into the folder {tmp_path}"
        with pytest.raises(DownloadError, match=re.escape(by_hand)):
            load_cifar(name, "train", download=False)
