"""The generated dataset: the same everywhere, fair, hard for a linear classifier."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from levit_ref.data import make_shapes
from levit_ref.data.outlines import OUTLINES, Outline
from levit_ref.data.shapes import _colours

CLASSES = ("circle", "square", "triangle", "hourglass", "star", "cross", "ring", "crescent", "heart", "arrow")


def digest(split: str, size: int, seed: int = 0) -> str:
    dataset = make_shapes(split, size, seed)
    return hashlib.sha256(dataset.images.tobytes() + dataset.labels.astype("<i8").tobytes()).hexdigest()


def test_identical_on_every_machine() -> None:
    """If this fails, the dataset has changed, and results on it can no longer be compared."""
    assert digest("train", 1100) == "9e58e6b8ae9176c6ffaf6273861adbf3d307f6eac16acab512afbbe45f0b9fc3"
    assert digest("test", 600) == "7caaadd1220e31708cabeb2ac89b4dd5a1ad00c58b337bea33c93ff93c4b1238"
    assert digest("train", 100, seed=7) == "f6f47890893d3387a83c4d049fb106794d448fca8186f0c78cec8864f561f4e0"


def test_sizes_and_types() -> None:
    train, test = make_shapes("train"), make_shapes("test")
    assert (len(train), len(test)) == (10_000, 2_000)
    for dataset in (train, test):
        assert dataset.classes == CLASSES
        assert dataset.image_shape == (3, 32, 32)
        assert np.bincount(dataset.labels).tolist() == [len(dataset) // 10] * 10


@pytest.mark.parametrize("size", [1, 3, 499, 500, 501])
def test_a_smaller_set_is_the_beginning_of_a_larger_one(size: int) -> None:
    small, large = make_shapes("train", size), make_shapes("train", 1000)
    assert len(small) == size
    np.testing.assert_array_equal(small.images, large.images[:size])
    np.testing.assert_array_equal(small.labels, large.labels[:size])


def test_splits_and_seeds_share_no_picture() -> None:
    sets = [make_shapes(split, 1000, seed).images for split in ("train", "test") for seed in (0, 1, 2)]
    assert len({picture.tobytes() for images in sets for picture in images}) == 6000


def test_a_linear_classifier_stays_under_forty_percent() -> None:
    """Ridge regression on the pixels; a network reaches more than twice the limit."""
    train, test = make_shapes("train"), make_shapes("test")
    x, x_test = (
        np.c_[d.images.reshape(len(d), -1) / np.float32(255), np.ones(len(d), np.float32)] for d in (train, test)
    )
    targets = np.eye(10, dtype=np.float32)[train.labels]
    weight = np.linalg.solve(x.T @ x + 100 * np.eye(x.shape[1], dtype=np.float32), x.T @ targets)
    accuracy = np.mean((x_test @ weight).argmax(1) == test.labels)
    assert accuracy < 0.40
    assert np.mean((x @ weight).argmax(1) == train.labels) > 0.15  # it has learned what it could


def test_no_colour_gives_the_class_away() -> None:
    dataset = make_shapes("train", 5000)
    means = np.stack([dataset.images[dataset.labels == k].mean(axis=(0, 2, 3)) for k in range(10)])  # (10, 3)
    assert np.ptp(means, axis=0).max() < 10  # of 255


def test_shape_and_ground_differ_in_every_channel(rng: np.random.Generator) -> None:
    ground, shape = _colours(rng.random((6, 10_000), dtype=np.float32))
    assert ground.shape == shape.shape == (10_000, 3, 1, 1)
    for colours in (ground, shape):
        assert 0.15 - 1e-6 < colours.min() < 0.16
        assert 0.84 < colours.max() < 0.85 + 1e-6
    contrast = np.abs(ground - shape)
    assert contrast.min() > 0.21 - 1e-6
    assert contrast.max() < 0.49 + 1e-6


@pytest.mark.parametrize("outline", OUTLINES.values(), ids=OUTLINES.keys())
class TestOutlines:
    """Each outline on a fine grid that reaches beyond it."""

    grid = np.linspace(-1.2, 1.2, 241, dtype=np.float32)

    def values(self, outline: Outline) -> np.ndarray:
        u, v = np.meshgrid(self.grid, self.grid)
        return outline(u, v)

    def test_its_mirror_image_is_the_same_shape(self, outline: Outline) -> None:
        u, v = np.meshgrid(self.grid, self.grid)
        np.testing.assert_allclose(outline(-u, v), outline(u, v), atol=1e-6)

    def test_it_lies_within_the_margin(self, outline: Outline) -> None:
        u, v = np.meshgrid(self.grid, self.grid)
        inside = self.values(outline) <= 0
        reach = np.hypot(u, v)[inside].max()
        assert 0.8 < reach < 1.06
        assert 0.1 < inside.mean() * 2.4**2 / np.pi < 0.75  # the share of the unit disc that it covers

    def test_it_keeps_single_precision(self, outline: Outline) -> None:
        assert self.values(outline).dtype == np.float32

    def test_near_the_border_it_is_a_distance(self, outline: Outline) -> None:
        values = self.values(outline)
        step = float(self.grid[1] - self.grid[0])
        slope = np.hypot(*np.gradient(values, step))[np.abs(values) < 0.05]
        assert np.quantile(slope, 0.1) > 0.9
        assert slope.max() < 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("val",), "split must be 'train' or 'test', got 'val'"),
        (("train", 0), "size must be at least 1, got 0"),
        (("train", 5, -1), "seed must be at least 0, got -1"),
    ],
)
def test_wrong_arguments(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_shapes(*arguments)
