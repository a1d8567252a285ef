"""Batches: each change against its definition, properties over random batches, and parts against the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

import levit_ref
from levit_ref import functional as F
from levit_ref.data import ArrayDataset, Augmentation, Batch, Dataset, make_batch
from levit_ref.data.batch import blend, colour_jitter
from levit_ref.preprocessing import Preprocessing

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
EVERYTHING = Augmentation(
    crop_padding=2,
    crop_fill="reflect",
    flip=0.5,
    cutout=3,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    mixup=0.8,
    cutmix=1.0,
    mix_probability=0.9,
)


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def dataset_of(images: np.ndarray, n_classes: int = 5) -> ArrayDataset:
    """These pictures after 100 others."""
    others = np.zeros((100, *images.shape[1:]), np.uint8)
    labels = np.concatenate([np.zeros(100, int), np.arange(len(images)) % n_classes])
    return ArrayDataset(np.concatenate([others, images]), labels, [str(k) for k in range(n_classes)])


def batch_of(images: np.ndarray, augmentation: Augmentation, seed: int = 0, part: slice = slice(None)) -> Batch:
    dataset, indices = dataset_of(images), np.arange(len(images)) + 100
    preprocessing = Preprocessing(dataset.image_shape[1:], MEAN, STD)
    return make_batch(dataset, indices, preprocessing, augmentation, np.random.default_rng(seed), part=part)


augmentations = st.builds(
    Augmentation,
    crop_padding=st.integers(0, 3),
    crop_fill=st.sampled_from(["zero", "reflect"]),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    cutout=st.integers(0, 9),
    brightness=st.sampled_from([0.0, 0.4, 1.0]),
    contrast=st.sampled_from([0.0, 0.4]),
    saturation=st.sampled_from([0.0, 0.4]),
    mixup=st.sampled_from([0.0, 0.2, 1.0]),
    cutmix=st.sampled_from([0.0, 0.2, 1.0]),
    mix_probability=st.sampled_from([0.0, 0.5, 1.0]),
    cutmix_probability=st.sampled_from([0.0, 0.5, 1.0]),
)
sizes = st.tuples(st.integers(1, 9), st.integers(4, 11), st.integers(4, 11))
seeds = st.integers(0, 2**32)
backends = st.sampled_from([backend.name for backend in levit_ref.backends() if backend.available])


class TestProperties:
    """What holds for every setting, size and seed."""

    @given(augmentations, sizes, seeds)
    def test_shapes_types_and_values(self, augmentation: Augmentation, size: tuple[int, int, int], seed: int) -> None:
        images = pictures(*size)
        batch = batch_of(images, augmentation, seed)
        assert batch.images.shape == images.shape
        assert batch.images.dtype == batch.targets.dtype == batch.shares.dtype == np.float32
        assert batch.indices.dtype == batch.partners.dtype == np.int64
        assert batch.targets.shape == (size[0], 5)
        assert (batch.batch_size, batch.part) == (size[0], slice(0, size[0], 1))
        pixels = batch.images * np.array(STD)[:, None, None] + np.array(MEAN)[:, None, None]
        assert pixels.min() > -1e-6
        assert pixels.max() < 1 + 1e-6

    @given(augmentations, sizes, seeds)
    def test_the_mass_of_each_label_is_one(
        self, augmentation: Augmentation, size: tuple[int, int, int], seed: int
    ) -> None:
        batch = batch_of(pictures(*size), augmentation, seed)
        assert (batch.targets >= 0).all()
        np.testing.assert_allclose(batch.targets.sum(axis=1), 1, atol=1e-6)
        one_hot = np.eye(5)
        share, labels, partner_labels = batch.shares[:, None], (batch.indices - 100) % 5, (batch.partners - 100) % 5
        mixed = share * one_hot[labels] + (1 - share) * one_hot[partner_labels]
        np.testing.assert_allclose(batch.targets, mixed, atol=1e-6)

    @given(augmentations, sizes, seeds)
    def test_the_generator_decides_and_nothing_else(
        self, augmentation: Augmentation, size: tuple[int, int, int], seed: int
    ) -> None:
        images = pictures(*size)
        assert_same_bits(batch_of(images, augmentation, seed), batch_of(images, augmentation, seed))

    @given(augmentations, sizes, seeds)
    def test_the_input_is_left_alone(self, augmentation: Augmentation, size: tuple[int, int, int], seed: int) -> None:
        dataset, indices = dataset_of(pictures(*size)), np.arange(size[0])
        dataset.images.flags.writeable = False  # any change in place would raise
        dataset.labels.flags.writeable = indices.flags.writeable = False
        make_batch(dataset, indices, Preprocessing(size[1:]), augmentation, np.random.default_rng(seed))

    @given(sizes, seeds)
    def test_nothing_on_is_only_normalisation(self, size: tuple[int, int, int], seed: int) -> None:
        images = pictures(*size)
        rng = np.random.default_rng(seed)
        state = rng.bit_generator.state
        how = Preprocessing(size[1:], (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        batch = make_batch(dataset_of(images), np.arange(size[0]) + 100, how, Augmentation(), rng)
        expected = (images / 255 - np.array(how.mean)[:, None, None]) / np.array(how.std)[:, None, None]
        np.testing.assert_allclose(batch.images, expected, atol=2e-6)
        np.testing.assert_array_equal(batch.images, F.normalise(images, how.mean, how.std))
        assert rng.bit_generator.state == state  # nothing was drawn


def assert_same_bits(first: Batch, second: Batch) -> None:
    for name, one, other in zip(Batch._fields[:5], first, second, strict=False):
        assert one.dtype == other.dtype, name
        assert one.shape == other.shape, name
        assert one.tobytes() == other.tobytes(), name


class TestParts:
    """A part of a batch is made without the rest, and has the bits that the whole has there."""

    @given(augmentations, sizes, seeds, st.integers(0, 9), st.integers(0, 9), backends)
    def test_any_part_of_any_batch(
        self, augmentation: Augmentation, size: tuple[int, int, int], seed: int, start: int, stop: int, backend: str
    ) -> None:
        images, part = pictures(*size), slice(start, stop)
        with levit_ref.use_backend(backend):
            whole, some = batch_of(images, augmentation, seed), batch_of(images, augmentation, seed, part)
        assert (some.batch_size, some.part) == (size[0], slice(*part.indices(size[0])))
        assert_same_bits(some, Batch(*(array[part] for array in whole[:5]), *some[5:]))

    def test_a_partner_is_read_only_where_it_is_needed(self) -> None:
        class Counting(ArrayDataset):
            def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
                asked.extend(np.asarray(indices).tolist())
                return super().batch(indices)

        asked: list[int] = []
        plain = dataset_of(pictures(40, 8, 8))
        dataset: Dataset = Counting(plain.images, plain.labels, plain.classes)
        how, indices = Preprocessing((8, 8)), np.arange(40) + 100
        part = slice(10, 20)
        for augmentation in (replace(EVERYTHING, mixup=0.0, cutmix=0.0), EVERYTHING):
            asked.clear()
            batch = make_batch(dataset, indices, how, augmentation, np.random.default_rng(0), part=part)
            needed = {*batch.indices.tolist(), *batch.partners.tolist()}
            assert sorted(asked) == sorted(needed)
            assert (len(needed) > 10) == bool(augmentation.mixup)


class TestChanges:
    """What becomes of a picture, seen in the batch."""

    @given(sizes, st.integers(1, 3), st.sampled_from(["zero", "reflect"]), seeds)
    def test_a_crop_is_a_window_of_the_padded_picture(
        self, size: tuple[int, int, int], padding: int, fill: str, seed: int
    ) -> None:
        images, (_, height, width) = pictures(*size), size
        cropped = bytes_of(images, Augmentation(crop_padding=padding, crop_fill=fill), seed)
        for image, crop in zip(images, cropped, strict=True):
            mode = {"zero": "constant", "reflect": "reflect"}[fill]
            padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode=mode)
            offsets = range(2 * padding + 1)
            windows = [padded[:, y : y + height, x : x + width] for y in offsets for x in offsets]
            assert any(np.array_equal(crop, window) for window in windows)

    def test_every_window_comes_up_equally_often(self) -> None:
        image = np.zeros((1, 3, 8, 8), np.uint8)
        image[:, :, 4, 4] = 1
        crops = bytes_of(np.repeat(image, 9000, axis=0), Augmentation(crop_padding=1), 0)
        counts = crops[:, 0].sum(axis=0)  # where the one pixel went
        assert counts[3:6, 3:6].sum() == 9000
        assert 850 < counts[3:6, 3:6].min() <= counts[3:6, 3:6].max() < 1150

    @pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
    def test_flip(self, probability: float) -> None:
        images = pictures(2000, 2, 3)
        flipped = bytes_of(images, Augmentation(flip=probability), 0)
        same = (flipped == images).all(axis=(1, 2, 3))
        np.testing.assert_array_equal(flipped[~same], images[~same][..., ::-1])
        assert abs((~same).mean() - probability) < 0.03

    @given(sizes, st.integers(1, 9), seeds)
    def test_cutout_is_one_box_that_may_hang_over_the_edge(
        self, size: tuple[int, int, int], side: int, seed: int
    ) -> None:
        hit = batch_of(np.full((size[0], 3, *size[1:]), 255, np.uint8), Augmentation(cutout=side), seed).images == 0
        for mask in hit:
            rows, columns = mask[0].any(axis=1), mask[0].any(axis=0)
            np.testing.assert_array_equal(mask, np.broadcast_to(np.outer(rows, columns), mask.shape))
            assert 1 <= rows.sum() <= side
            assert 1 <= columns.sum() <= side
            assert (np.diff(np.flatnonzero(rows)) == 1).all()
            assert (np.diff(np.flatnonzero(columns)) == 1).all()

    def test_in_the_middle_cutout_has_its_full_size(self) -> None:
        hit = batch_of(np.full((500, 3, 32, 32), 255, np.uint8), Augmentation(cutout=8)).images == 0
        assert hit[:, 0].sum(axis=(1, 2)).max() == 64
        assert (hit[:, 0].any(axis=0)).all()  # no pixel is out of reach

    @given(sizes, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), seeds)
    def test_colours_change_by_saturation_then_contrast_then_brightness(
        self, size: tuple[int, int, int], brightness: float, contrast: float, saturation: float, seed: int
    ) -> None:
        images, rng = pictures(*size), np.random.default_rng(seed)
        b, c, s = (rng.uniform(1 - x, 1 + x, size[0]) for x in (brightness, contrast, saturation))
        result = colour_jitter(images, np.stack([b, c, s]).astype(np.float32))
        for k, image in enumerate(images / 255):
            luma = np.array([0.299, 0.587, 0.114])
            saturated = s[k] * image + (1 - s[k]) * np.tensordot(luma, image, 1)
            contrasted = c[k] * saturated + (1 - c[k]) * np.tensordot(luma, saturated, 1).mean()
            np.testing.assert_allclose(result[k], np.clip(b[k] * contrasted, 0, 1), atol=2e-6)

    def test_wrong_pictures(self) -> None:
        class Wrong(ArrayDataset):
            def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
                return super().batch(indices).astype(np.float32)  # type: ignore[return-value]

        dataset, how = Wrong(pictures(1, 4, 4), [0], ["a"]), Preprocessing((4, 4))
        for augmentation in (Augmentation(), Augmentation(brightness=0.5)):
            with pytest.raises(ValueError, match=r"pictures must be uint8 \(B, 3, H, W\), got float32 \(1, 3, 4, 4\)"):
                make_batch(dataset, [0], how, augmentation, np.random.default_rng(0))


def bytes_of(images: np.ndarray, augmentation: Augmentation, seed: int) -> np.ndarray:
    """A batch as bytes again: the normalisation is undone."""
    batch = batch_of(images, augmentation, seed)
    pixels = batch.images * np.array(STD)[:, None, None] + np.array(MEAN)[:, None, None]
    return np.rint(pixels * 255).astype(np.uint8)


class TestBlending:
    """Weighted means of pictures."""

    images = np.random.default_rng(1).standard_normal((9, 3, 4, 5), dtype=np.float32)

    def test_weights_and_shares(self) -> None:
        rng = np.random.default_rng(0)
        weights, partners = rng.random((6, 1, 4, 5), np.float32), rng.integers(0, 9, 6)
        blended, shares = blend(self.images.copy(), partners, weights)
        expected = weights * self.images[:6] + (1 - weights) * self.images[partners]
        np.testing.assert_allclose(blended, expected, atol=1e-6)
        np.testing.assert_allclose(shares, weights.mean(axis=(1, 2, 3)), atol=1e-6)

    def test_a_weight_of_one_leaves_every_bit(self) -> None:
        blended, shares = blend(self.images.copy(), np.arange(9)[::-1], np.ones((9, 1, 4, 5), np.float32))
        np.testing.assert_array_equal(blended, self.images)
        assert (shares == 1).all()

    @given(st.floats(0, 1, width=32))
    def test_a_constant_weight_is_the_share_to_the_bit(self, weight: float) -> None:
        weights = np.full((9, 1, 4, 5), weight, np.float32)
        assert (blend(self.images.copy(), np.arange(9), weights)[1] == np.float32(weight)).all()
