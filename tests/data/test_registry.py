"""Datasets by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from levit_ref.configs import VARIANTS
from levit_ref.data import (
    DATASETS,
    ArrayDataset,
    Dataset,
    DatasetRecord,
    list_datasets,
    load_cifar,
    load_dataset,
    make_shapes,
)
from levit_ref.data.records import Request
from levit_ref.preprocessing import Preprocessing
from levit_ref.training import TrainConfig
from tests.data.cifar_files import cifar10_contents, cifar100_contents, write_folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder that holds CIFAR-10, CIFAR-100 and, in `folder`, pictures of two classes."""
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_contents())
    write_folder(tmp_path / "cifar-100-python", cifar100_contents())
    for name in ("a", "b"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for k in range(5):
            Image.new("RGB", (40, 30), (k, 0, 0)).save(tmp_path / "folder" / name / f"{k}.png")
    return tmp_path


def place_of(name: str, data_dir: Path) -> Path | None:
    return {"shapes": None, "folder": data_dir / "folder"}.get(name, data_dir)


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_reader_returns_a_dataset(data_dir: Path, name: str, split: str) -> None:
    dataset = load_dataset(name, split, place_of(name, data_dir))
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.shape == (len(dataset),)
    assert isinstance(dataset.classes, tuple)
    assert 0 <= dataset.labels.min() <= dataset.labels.max() < len(dataset.classes)
    assert dataset.image_shape == ((3, 224, 224) if name == "folder" else (3, 32, 32))
    batch = dataset.batch([0, len(dataset) - 1])
    assert (batch.shape, batch.dtype) == ((2, *dataset.image_shape), np.uint8)
    with pytest.raises(IndexError):
        dataset.batch([len(dataset)])
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'dev'"):
        load_dataset(name, "dev", place_of(name, data_dir))


@pytest.mark.parametrize("name", DATASETS)
def test_size_and_image_size(data_dir: Path, name: str) -> None:
    place = place_of(name, data_dir)
    dataset = load_dataset(name, "train", place, image_size=(20, 24), size=3)
    assert len(dataset) == 3
    assert dataset.image_shape == (3, 20, 24)
    assert dataset.batch([2]).shape == (1, 3, 20, 24)
    same, other = (load_dataset(name, "train", place, image_size=(20, 24), size=3, seed=seed) for seed in (0, 5))
    np.testing.assert_array_equal(same.batch([0, 1, 2]), dataset.batch([0, 1, 2]))
    assert not np.array_equal(other.batch([0, 1, 2]), dataset.batch([0, 1, 2]))


@pytest.mark.parametrize("name", DATASETS)
def test_a_record_is_complete_and_its_settings_are_settings_of_a_run(name: str) -> None:
    record = DATASETS[name]
    assert record.name == name and record.help
    assert f"{name} ({record.help})" in list_datasets()
    assert record.preprocessing(48) == Preprocessing((48, 48), record.mean, record.std)
    config = TrainConfig(dataset=name, **record.settings)  # refuses what is no setting, or out of range
    assert config.model in VARIANTS


def test_the_statistics_of_shapes_are_those_of_its_pictures() -> None:
    pixels = load_dataset("shapes", "train", size=1000).batch(np.arange(1000)) / 255
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), DATASETS["shapes"].mean, atol=0.01)
    np.testing.assert_allclose(pixels.std(axis=(0, 2, 3)), DATASETS["shapes"].std, atol=0.005)


@pytest.mark.parametrize("name", DATASETS)
def test_crop_and_interpolation_of_a_model_can_be_asked_for(data_dir: Path, name: str) -> None:
    place, first = place_of(name, data_dir), [0]
    whole, middle = (
        load_dataset(name, "test", place, preprocessing=Preprocessing((32, 32), crop_fraction=share), size=1)
        for share in (1.0, 0.5)
    )
    assert middle.image_shape == (3, 32, 32)
    assert name == "folder" or not np.array_equal(whole.batch(first), middle.batch(first))  # those are of one colour
    with pytest.raises(ValueError, match="image_size and preprocessing exclude each other"):
        load_dataset(name, "test", place, image_size=32, preprocessing=Preprocessing((32, 32)))


def test_a_dataset_is_added_by_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Request] = []

    def load(request: Request) -> Dataset:
        requests.append(request)
        images = np.zeros((6, 3, 8, 8), np.uint8)
        return request.fitted(ArrayDataset(images, [0, 1] * 3, ["a", "b"]))

    record = DatasetRecord("tiny", "nothing to see", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), load, {"epochs": 3})
    monkeypatch.setitem(DATASETS, "tiny", record)
    dataset = load_dataset("tiny", "test", "somewhere", image_size=16, size=4, base_url="http://here")
    assert (len(dataset), dataset.image_shape) == (4, (3, 16, 16))
    wanted = Request("test", "somewhere", Preprocessing((16, 16)), size=4, base_url="http://here")
    assert requests == [wanted]
    assert list_datasets().endswith("or tiny (nothing to see)")
    monkeypatch.setitem(DATASETS, "tiny", replace(record, load=lambda request: make_shapes("test", 4)))
    with pytest.raises(RuntimeError, match=r"the loader of tiny returned pictures of \(32, 32\), not \(16, 16\)"):
        load_dataset("tiny", "test", image_size=16)


def test_the_seed_and_the_size_go_to_the_generator() -> None:
    dataset = load_dataset("shapes", "test", size=40, seed=5)
    np.testing.assert_array_equal(dataset.batch(np.arange(40)), make_shapes("test", 40, 5).images)


def test_without_options_cifar_is_all_of_the_files(data_dir: Path) -> None:
    dataset = load_dataset("cifar10", "train", data_dir, image_size=32)
    np.testing.assert_array_equal(dataset.batch(np.arange(20)), load_cifar("cifar10", "train", data_dir).images)


def test_wrong_arguments(data_dir: Path) -> None:
    with pytest.raises(ValueError, match="no dataset is called 'mnist', only shapes, cifar10, cifar100, folder"):
        load_dataset("mnist", "train")
    with pytest.raises(ValueError, match="shapes is generated and takes no data_dir"):
        load_dataset("shapes", "train", data_dir)
    with pytest.raises(ValueError, match="folder needs data_dir"):
        load_dataset("folder", "train")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        load_dataset("shapes", "train", size=0)
    with pytest.raises(ValueError, match="size must be at most 20, the number of pictures, got 21"):
        load_dataset("cifar10", "train", data_dir, size=21)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        load_dataset("cifar10", "train", data_dir, seed=-1)
    with pytest.raises(ValueError, match="image_size must be a positive number"):
        load_dataset("cifar10", "train", data_dir, image_size=-4)
