"""The dataset in memory, subsets, and the checks they share."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.data import ArrayDataset, Dataset, Subset


@pytest.fixture
def dataset(rng: np.random.Generator) -> ArrayDataset:
    return ArrayDataset(rng.integers(0, 256, (5, 3, 4, 6), dtype=np.uint8), [0, 1, 1, 0, 2], ["a", "b", "c"])


def test_array_dataset(dataset: ArrayDataset) -> None:
    as_protocol: Dataset = dataset
    assert len(as_protocol) == 5
    assert as_protocol.classes == ("a", "b", "c")
    assert as_protocol.image_shape == (3, 4, 6)
    assert as_protocol.labels.dtype == np.int64
    np.testing.assert_array_equal(as_protocol.labels, [0, 1, 1, 0, 2])


def test_a_batch_is_a_copy_in_the_order_asked_for(dataset: ArrayDataset) -> None:
    before = dataset.images.copy()
    batch = dataset.batch([3, 0, 3])
    np.testing.assert_array_equal(batch, before[[3, 0, 3]], strict=True)
    batch[...] = 0
    np.testing.assert_array_equal(dataset.images, before)
    assert dataset.batch([]).shape == (0, 3, 4, 6)


def test_a_subset_keeps_classes_and_order(dataset: ArrayDataset) -> None:
    subset = Subset(dataset, [4, 1])
    assert (len(subset), subset.classes, subset.image_shape) == (2, ("a", "b", "c"), (3, 4, 6))
    np.testing.assert_array_equal(subset.labels, [2, 1])
    np.testing.assert_array_equal(subset.batch([1, 0]), dataset.images[[1, 4]])
    with pytest.raises(IndexError, match="index 2 is out of range for a dataset of 2 pictures"):
        subset.batch([2])


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_out_of_range(dataset: ArrayDataset, index: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} is out of range for a dataset of 5 pictures"):
        dataset.batch([0, index])


@pytest.mark.parametrize("indices", [3, [[0, 1]], [0.0], [True]])
def test_indices_are_one_row_of_integers(dataset: ArrayDataset, indices: object) -> None:
    with pytest.raises(TypeError, match="indices must be a 1-D array of integers"):
        dataset.batch(indices)


IMAGES = np.zeros((2, 3, 4, 4), np.uint8)


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_a_label_out_of_range(labels: list[int]) -> None:
    with pytest.raises(
        ValueError, match=r"label (2 of picture 1|-1 of picture 0) is out of range: there are 2 classes"
    ):
        ArrayDataset(IMAGES, labels, ["a", "b"])


def test_wrong_types_and_shapes() -> None:
    with pytest.raises(TypeError, match="images must be a uint8 array, got float64"):
        ArrayDataset(IMAGES.astype(float), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, H, W\), got \(2, 4, 4, 3\)"):
        ArrayDataset(IMAGES.reshape(2, 4, 4, 3), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\).* got \(3,\)"):
        ArrayDataset(IMAGES, [0, 1, 1], ["a", "b"])
    with pytest.raises(TypeError, match="labels must be integers, got dtype float64"):
        ArrayDataset(IMAGES, [0.0, 1.0], ["a", "b"])
