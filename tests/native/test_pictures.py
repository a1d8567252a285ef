"""Training pictures by the kernel against the NumPy code, from the same draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref import functional as F
from levit_ref.data import ArrayDataset, Augmentation, Batch, make_batch
from levit_ref.preprocessing import Preprocessing
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_same_bits_for_any_threads, few, normal

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def batch(backend: str, some: np.ndarray, settings: Augmentation, seed: int = 0) -> tuple[Batch, object]:
    """A batch, and where it left the generator."""
    rng = np.random.default_rng(seed)
    places = np.arange(len(some))
    dataset, preprocessing = ArrayDataset(some, places % 5, list("abcde")), Preprocessing(some.shape[2:], MEAN, STD)
    with levit_ref.use_backend(backend):
        return make_batch(dataset, places, preprocessing, settings, rng), rng.bit_generator.state


@few
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40)),
    padding=st.integers(0, 9),
    fill=st.sampled_from(["zero", "reflect"]),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    cutout=st.integers(0, 50),
    colour=st.sampled_from([0.0, 0.4]),
    mixup=st.sampled_from([0.0, 0.8]),
    seed=st.integers(0, 1000),
)
def test_the_bits_and_the_draws_of_numpy(
    size: tuple[int, int, int],
    padding: int,
    fill: str,
    flip: float,
    cutout: int,
    colour: float,
    mixup: float,
    seed: int,
) -> None:
    if fill == "reflect":
        padding = min(padding, min(size[1:]) - 1)
    settings = Augmentation(
        crop_padding=padding, crop_fill=fill, flip=flip, cutout=cutout, contrast=colour, mixup=mixup, cutmix=mixup
    )
    got, state = batch("native", pictures(*size), settings, seed)
    expected, expected_state = batch("numpy", pictures(*size), settings, seed)
    assert state == expected_state
    for name in Batch._fields[:5]:
        ours, numpys = getattr(got, name), getattr(expected, name)
        assert ours.dtype == numpys.dtype, name
        assert ours.tobytes() == numpys.tobytes(), name


def test_each_step_by_itself() -> None:
    some = pictures(5, 12, 9)
    for change in (
        {"crop_padding": 3},
        {"crop_padding": 3, "crop_fill": "reflect"},
        {"crop_padding": 20},  # more than the picture has
        {"flip": 0.5},
        {"cutout": 4},
        {"cutout": 100},
        {},
    ):
        settings = Augmentation(**change)
        got, expected = (batch(name, some, settings)[0].images for name in ("native", "numpy"))
        np.testing.assert_array_equal(got, expected, err_msg=str(change))


def test_normalisation_of_every_byte_of_any_picture() -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3).transpose(0, 3, 1, 2)
    for some in (every, pictures(4, 7, 5)[::2, :, ::-1], pictures(0, 4, 4)):
        got = F.normalise(some, MEAN, STD)
        with levit_ref.use_backend("numpy"):
            expected = F.normalise(some, MEAN, STD)
        assert got.tobytes() == expected.tobytes()
        assert got.shape == some.shape
        got[...] = 0  # it is the caller's own


def test_channels_are_innermost_in_memory() -> None:
    images = F.normalise(pictures(2, 8, 6), MEAN, STD)
    assert images.shape == (2, 3, 8, 6)
    assert images.transpose(0, 2, 3, 1).flags.c_contiguous


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    settings = Augmentation(crop_padding=4, crop_fill="reflect", flip=0.5, cutout=8)
    assert_same_bits_for_any_threads(lambda: batch("native", pictures(33, 16, 16), settings)[0].images)


def test_nothing_beyond_the_pictures_is_read() -> None:
    # a window that would reach out of the first and the last picture without the mirror
    guarded = np.full(2 * 3 * 5 * 5 + 200, 255, np.uint8)
    some = guarded[100:-100].reshape(2, 3, 5, 5)
    some[...] = 7
    values = np.arange(3 * 256, dtype=np.float32).reshape(3, 256)
    for windows in (np.zeros((2, 2), np.int64), np.full((2, 2), 8)):
        images = kernel(some, values, windows=windows, padding=4, reflect=True, flipped=np.array([True, False]))
        np.testing.assert_array_equal(images, np.broadcast_to(values[:, 7, None, None], (2, 3, 5, 5)))


def test_values_are_passed_on_whatever_they_are() -> None:
    values = normal(0, 3, 256)
    values[0, 0], values[1, 5], values[2, 9] = np.nan, np.inf, -0.0
    some = pictures(3, 6, 6)
    np.testing.assert_array_equal(kernel(some, values), values[np.arange(3)[:, None, None], some])


def kernel(some: np.ndarray, values: np.ndarray, **changes: object) -> np.ndarray:
    """The binding, with everything switched off that is not given."""
    off = {"windows": None, "padding": 0, "reflect": False, "flipped": None, "boxes": None, "box_side": 0}
    images: np.ndarray = extension.augment(some, values, **{**off, **changes})
    return images.transpose(0, 3, 1, 2)


def arguments(**changes: object) -> dict[str, object]:
    plain = {
        "pictures": pictures(2, 6, 5),
        "values": normal(0, 3, 256),
        "windows": np.zeros((2, 2), np.int64),
        "padding": 2,
        "reflect": True,
        "flipped": np.zeros(2, bool),
        "boxes": None,
        "box_side": 0,
    }
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures": np.zeros((2, 3, 6, 5), np.float32)}, "pictures must be uint8, got float32"),
        (
            {"pictures": np.zeros((2, 4, 6, 5), np.uint8)},
            r"pictures must have shape \(B, 3, H, W\), got \(2, 4, 6, 5\)",
        ),
        ({"pictures": pictures(2, 5, 6).transpose(0, 1, 3, 2)}, "pictures must be contiguous in memory"),
        ({"values": normal(0, 3, 255)}, r"values has shape \(3, 255\), expected \(3, 256\)"),
        ({"windows": np.array([[0, 1], [5, 0]])}, "windows must be within 0 and 4, got 5"),
        ({"windows": np.array([[0, 1], [-1, 0]])}, "windows must be within 0 and 4, got -1"),
        ({"windows": np.zeros((2, 3), np.int64)}, r"windows has shape \(2, 3\), expected \(2, 2\)"),
        ({"windows": np.zeros((2, 2), np.int32)}, "windows must be int64, got int32"),
        ({"padding": 5}, "padding 5 does not go with pictures of 6 x 5"),
        ({"padding": -1, "windows": None}, "padding -1 does not go with"),
        ({"flipped": np.zeros(2, np.uint8)}, "flipped must be bool, got uint8"),
        ({"boxes": np.zeros((2, 2))}, "boxes must be int64, got float64"),
    ],
)
def test_the_binding_refuses_what_the_kernel_cannot_read(change: dict[str, object], message: str) -> None:
    some = arguments(**change)
    with pytest.raises((TypeError, ValueError), match=message):
        extension.augment(some.pop("pictures"), some.pop("values"), **some)
