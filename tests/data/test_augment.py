"""Augmentation: each step against its definition, and properties over random batches."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref.data import Augmentation, Batch, make_batch, normalise
from levit_ref.data.augment import colour_jitter, cutout, mix, random_crop, random_flip
from levit_ref.data.registry import DATASETS


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def batch_of(images: np.ndarray, augmentation: Augmentation, seed: int, n_classes: int = 5) -> Batch:
    labels, indices = np.arange(len(images)) % n_classes, np.arange(len(images)) + 100
    return make_batch(images, labels, indices, n_classes, augmentation, np.random.default_rng(seed))


augmentations = st.builds(
    Augmentation,
    mean=st.just((0.5, 0.4, 0.3)),
    std=st.just((0.2, 0.3, 0.4)),
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


class TestProperties:
    """What holds for every setting, size and seed."""

    @given(augmentations, sizes, seeds)
    def test_shapes_types_and_values(self, augmentation: Augmentation, size: tuple[int, int, int], seed: int) -> None:
        images = pictures(*size)
        batch = batch_of(images, augmentation, seed)
        assert batch.images.shape == images.shape
        assert batch.images.dtype == batch.targets.dtype == batch.shares.dtype == np.float32
        assert batch.labels.dtype == batch.indices.dtype == batch.partners.dtype == np.int64
        assert batch.targets.shape == (size[0], 5)
        pixels = batch.images * np.array([0.2, 0.3, 0.4])[:, None, None] + np.array([0.5, 0.4, 0.3])[:, None, None]
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
        share, partner_labels = batch.shares[:, None], (batch.partners - 100) % 5
        mixed = share * one_hot[batch.labels] + (1 - share) * one_hot[partner_labels]
        np.testing.assert_allclose(batch.targets, mixed, atol=1e-6)

    @given(augmentations, sizes, seeds)
    def test_the_generator_decides_and_nothing_else(
        self, augmentation: Augmentation, size: tuple[int, int, int], seed: int
    ) -> None:
        images = pictures(*size)
        for first, second in zip(
            batch_of(images, augmentation, seed), batch_of(images, augmentation, seed), strict=True
        ):
            np.testing.assert_array_equal(first, second)

    @given(augmentations, sizes, seeds)
    def test_the_input_is_left_alone(self, augmentation: Augmentation, size: tuple[int, int, int], seed: int) -> None:
        images = pictures(*size)
        images.flags.writeable = False  # any change in place would raise
        labels, indices = np.zeros(size[0], np.int64), np.arange(size[0])
        labels.flags.writeable = indices.flags.writeable = False
        make_batch(images, labels, indices, 2, augmentation, np.random.default_rng(seed))

    @given(sizes, seeds)
    def test_nothing_on_is_only_normalisation(self, size: tuple[int, int, int], seed: int) -> None:
        images, plain = pictures(*size), Augmentation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        rng = np.random.default_rng(seed)
        state = rng.bit_generator.state
        labels = np.zeros(size[0], np.int64)
        batch = make_batch(images, labels, labels, 2, plain, rng)
        expected = (images / 255 - np.array(plain.mean)[:, None, None]) / np.array(plain.std)[:, None, None]
        np.testing.assert_allclose(batch.images, expected, atol=2e-6)
        np.testing.assert_array_equal(batch.images, normalise(images, plain.mean, plain.std))
        assert rng.bit_generator.state == state  # nothing was drawn


class TestCropAndFlip:
    """The steps on bytes."""

    @given(sizes, st.integers(1, 3), st.sampled_from(["zero", "reflect"]), seeds)
    def test_a_crop_is_a_window_of_the_padded_picture(
        self, size: tuple[int, int, int], padding: int, fill: str, seed: int
    ) -> None:
        images, (_, height, width) = pictures(*size), size
        cropped = random_crop(images, padding, fill, np.random.default_rng(seed))
        for image, crop in zip(images, cropped, strict=True):
            mode = {"zero": "constant", "reflect": "reflect"}[fill]
            padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode=mode)
            offsets = range(2 * padding + 1)
            windows = [padded[:, y : y + height, x : x + width] for y in offsets for x in offsets]
            assert any(np.array_equal(crop, window) for window in windows)

    def test_every_window_comes_up_equally_often(self) -> None:
        image = np.zeros((1, 3, 8, 8), np.uint8)
        image[:, :, 4, 4] = 1
        crops = random_crop(np.repeat(image, 9000, axis=0), 1, "zero", np.random.default_rng(0))
        counts = crops[:, 0].sum(axis=0)  # where the one pixel went
        assert counts[3:6, 3:6].sum() == 9000
        assert 850 < counts[3:6, 3:6].min() <= counts[3:6, 3:6].max() < 1150

    def test_a_reflection_wider_than_the_picture_is_refused(self) -> None:
        with pytest.raises(ValueError, match="crop_padding 4 cannot reflect pictures of 4 x 9 pixels"):
            random_crop(pictures(1, 4, 9), 4, "reflect", np.random.default_rng(0))

    @pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
    def test_flip(self, probability: float) -> None:
        images = pictures(2000, 2, 3)
        flipped = random_flip(images, probability, np.random.default_rng(0))
        same = (flipped == images).all(axis=(1, 2, 3))
        np.testing.assert_array_equal(flipped[~same], images[~same][..., ::-1])
        assert abs((~same).mean() - probability) < 0.03


class TestColour:
    """Colour jitter against its three steps, one at a time."""

    @given(sizes, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), seeds)
    def test_it_is_saturation_then_contrast_then_brightness(
        self, size: tuple[int, int, int], brightness: float, contrast: float, saturation: float, seed: int
    ) -> None:
        images = pictures(*size)
        result = colour_jitter(images, brightness, contrast, saturation, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        b, c, s = (rng.uniform(1 - x, 1 + x, size[0]) for x in (brightness, contrast, saturation))
        for k, image in enumerate(images / 255):
            luma = np.array([0.299, 0.587, 0.114])
            saturated = s[k] * image + (1 - s[k]) * np.tensordot(luma, image, 1)
            contrasted = c[k] * saturated + (1 - c[k]) * np.tensordot(luma, saturated, 1).mean()
            np.testing.assert_allclose(result[k], np.clip(b[k] * contrasted, 0, 1), atol=2e-6)


class TestCutout:
    """Squares of the mean colour."""

    @given(sizes, st.integers(1, 9), seeds)
    def test_it_is_one_box_that_may_hang_over_the_edge(self, size: tuple[int, int, int], side: int, seed: int) -> None:
        hit = cutout(np.ones((size[0], 3, *size[1:]), np.float32), side, np.random.default_rng(seed)) == 0
        for mask in hit:
            rows, columns = mask[0].any(axis=1), mask[0].any(axis=0)
            np.testing.assert_array_equal(mask, np.broadcast_to(np.outer(rows, columns), mask.shape))
            assert 1 <= rows.sum() <= side
            assert 1 <= columns.sum() <= side
            assert (np.diff(np.flatnonzero(rows)) == 1).all()
            assert (np.diff(np.flatnonzero(columns)) == 1).all()

    def test_in_the_middle_it_has_its_full_size(self) -> None:
        hit = cutout(np.ones((500, 3, 32, 32), np.float32), 8, np.random.default_rng(0)) == 0
        assert hit[:, 0].sum(axis=(1, 2)).max() == 64
        assert (hit[:, 0].any(axis=0)).all()  # no pixel is out of reach

    def test_it_leaves_the_mean_colour(self) -> None:
        settings = Augmentation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), cutout=4)
        batch = batch_of(np.full((8, 3, 8, 8), 255, np.uint8), settings, 0)
        assert set(np.unique(batch.images)) == {0.0, 2.0}


class TestMixing:
    """Mixup and cutmix."""

    images = np.random.default_rng(1).standard_normal((64, 3, 8, 8), dtype=np.float32)

    def test_mixup_blends_with_the_share(self) -> None:
        mixed = mix(self.images.copy(), 1.0, 0.0, 1.0, 0.5, np.random.default_rng(0))
        share = mixed.shares[:, None, None, None]
        expected = share * self.images + (1 - share) * self.images[mixed.partners]
        np.testing.assert_allclose(mixed.images, expected, atol=1e-6)
        assert sorted(mixed.partners) == list(range(64))
        assert np.unique(mixed.shares).size > 50

    def test_cutmix_pastes_a_box_and_the_share_is_its_exact_area(self) -> None:
        mixed = mix(self.images.copy(), 0.0, 1.0, 1.0, 0.5, np.random.default_rng(0))
        partners = self.images[mixed.partners]
        kept = (mixed.images == self.images).all(axis=1)  # (B, H, W)
        assert ((mixed.images == partners).all(axis=1) | kept).all()
        own = mixed.partners == np.arange(64)
        np.testing.assert_allclose(mixed.shares[~own], kept.mean(axis=(1, 2))[~own], atol=1e-7)
        assert 0.2 < mixed.shares.mean() < 0.8
        for pasted in ~kept[~own]:
            np.testing.assert_array_equal(pasted, np.outer(pasted.any(axis=1), pasted.any(axis=0)))

    @pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
    def test_the_switch_between_the_two(self, probability: float) -> None:
        images = np.tile(np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32), (1000, 1, 1, 1))
        images += np.arange(2000, dtype=np.float32)[:, None, None, None]  # no two have a pixel in common
        mixed = mix(images.copy(), 1.0, 1.0, 1.0, probability, np.random.default_rng(0))
        from_one = (mixed.images == images) | (mixed.images == images[mixed.partners])
        boxed = from_one.all(axis=(1, 2, 3))
        assert abs(boxed.mean() - probability) < 0.04

    @pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
    def test_what_is_not_mixed_is_untouched(self, mixup: float, cutmix: float) -> None:
        images = np.tile(self.images, (16, 1, 1, 1))
        mixed = mix(images.copy(), mixup, cutmix, 0.4, 0.5, np.random.default_rng(0))
        alone = mixed.partners == np.arange(len(images))
        assert 0.55 < alone.mean() < 0.65
        np.testing.assert_array_equal(mixed.images[alone], images[alone])
        never = mix(images.copy(), mixup, cutmix, 0.0, 0.5, np.random.default_rng(0))
        np.testing.assert_array_equal(never.images, images)
        assert (never.shares == 1).all()

    def test_a_batch_of_one_has_itself_for_a_partner(self) -> None:
        batch = batch_of(pictures(1, 8, 8), Augmentation(mixup=1.0, cutmix=1.0), 0)
        np.testing.assert_array_equal(batch.partners, batch.indices)
        np.testing.assert_allclose(batch.targets, [[1, 0, 0, 0, 0]])


class TestSettings:
    """The dataclass of settings."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("mean", (0.5, 0.5)),
            ("mean", (0.5, 0.5, float("nan"))),
            ("std", (0.5, 0.5, 0.0)),
            ("crop_padding", -1),
            ("crop_padding", 1.5),
            ("crop_fill", "edge"),
            ("flip", 1.5),
            ("cutout", -2),
            ("brightness", -0.1),
            ("contrast", 1.1),
            ("saturation", float("nan")),
            ("mixup", -1.0),
            ("cutmix", float("inf")),
            ("mix_probability", 2.0),
            ("cutmix_probability", -1.0),
        ],
    )
    def test_wrong_values_are_refused_by_name(self, field: str, value: object) -> None:
        with pytest.raises(ValueError, match=f"^{field} must be"):
            Augmentation(**{field: value})

    def test_plain_data_there_and_back(self) -> None:
        settings = Augmentation.for_dataset("cifar10")
        as_lists = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}
        assert Augmentation(**as_lists) == settings

    @pytest.mark.parametrize("name", DATASETS)
    def test_every_dataset_has_settings(self, name: str) -> None:
        settings = Augmentation.for_dataset(name)
        assert settings.is_random
        plain = settings.without_randomness()
        assert not plain.is_random
        assert (plain.mean, plain.std) == (settings.mean, settings.std)
        images = pictures(4, 32, 32)
        np.testing.assert_array_equal(batch_of(images, plain, 0).images, batch_of(images, plain, 1).images)
        with pytest.raises(ValueError, match="no dataset is called 'mnist'"):
            Augmentation.for_dataset("mnist")

    def test_nothing_is_on_by_default(self) -> None:
        assert not Augmentation().is_random
        assert replace(Augmentation(), flip=0.5).is_random

    def test_wrong_pictures(self) -> None:
        with pytest.raises(ValueError, match=r"pictures must be uint8 \(B, 3, H, W\), got float32 \(1, 3, 4, 4\)"):
            batch_of(np.zeros((1, 3, 4, 4), np.float32), Augmentation(), 0)
