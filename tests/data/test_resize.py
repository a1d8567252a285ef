"""Bringing pictures to one size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from levit_ref.data import ArrayDataset, ResizedDataset
from levit_ref.preprocessing import Preprocessing, as_size, fit


def test_the_centre_of_a_wide_picture_is_kept() -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200  # the middle third
    for size, expected in (((20, 20), (3, 20, 20)), ((10, 10), (3, 10, 10)), ((40, 20), (3, 40, 20))):
        fitted = fit(Image.fromarray(pixels), Preprocessing(size))
        assert fitted.shape == expected
        assert fitted.dtype == np.uint8
        assert (fitted[:, 2:-2, 2:-2] > 190).all()


def test_a_picture_of_the_right_size_is_left_as_it_is(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit(Image.fromarray(pixels), Preprocessing((5, 7))), pixels.transpose(2, 0, 1))


def test_a_resized_dataset(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    small = ArrayDataset(images, [0, 1, 0, 1], ["a", "b"])
    large = ResizedDataset(small, (16, 12))
    assert (len(large), large.classes, large.image_shape) == (4, ("a", "b"), (3, 16, 12))
    np.testing.assert_array_equal(large.labels, small.labels)
    batch = large.batch([2, 0])
    assert batch.shape == (2, 3, 16, 12)
    np.testing.assert_array_equal(batch[1], fit(Image.fromarray(images[0].transpose(1, 2, 0)), Preprocessing((16, 12))))


def test_a_crop_of_a_picture_that_has_the_size(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    how = Preprocessing((16, 16), crop_fraction=0.5, interpolation="nearest")
    cropped = ResizedDataset(ArrayDataset(images, [0, 1], ["a", "b"]), how)
    expected = images[:, :, 4:12, 4:12].repeat(2, axis=2).repeat(2, axis=3)  # the middle quarter, twice as large
    np.testing.assert_array_equal(cropped.batch([0, 1]), expected)


@pytest.mark.parametrize("size", [0, -3, (4,), (4, 0), (4, 4, 4), (2.5, 2)])
def test_wrong_sizes(size: object) -> None:
    with pytest.raises(ValueError, match="image_size must be a positive number of pixels"):
        as_size(size)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 64 * 64).reshape(64, 64).astype(np.uint16)
    picture = fit(Image.fromarray(ramp), Preprocessing((64, 64)))
    np.testing.assert_allclose(picture[0], ramp // 257, atol=1)


def test_what_is_transparent_is_white_whatever_colour_lies_under_it() -> None:
    hidden = np.zeros((8, 8, 4), np.uint8)
    hidden[..., 0] = 200  # red, with alpha 0
    hidden[:4, :, 3] = 255
    picture = fit(Image.fromarray(hidden), Preprocessing((8, 8)))
    assert (picture[:, 4:] == 255).all()
    assert (picture[0, :4] == 200).all() and (picture[1:, :4] == 0).all()


def test_floating_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="floating numbers"):
        fit(Image.fromarray(np.zeros((8, 8), np.float32)), Preprocessing((8, 8)))
