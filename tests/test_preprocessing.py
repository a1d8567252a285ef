"""Pictures become what the network saw in training, from whatever they come in."""

from __future__ import annotations

import dataclasses
import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from levit_ref import load_checkpoint, prepare_images, preprocessing, read_about
from levit_ref.configs import get_config
from levit_ref.files import FileError
from levit_ref.nn import LeViT
from levit_ref.preprocessing import INTERPOLATIONS, Preprocessing
from levit_ref.pretrained import DEFAULT

ABOUT = read_about(DEFAULT)
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)  # of the model's size: nothing is resampled
HOW = ABOUT.preprocessing
EXPECTED = (PIXELS.transpose(2, 0, 1) / 255 - np.reshape(HOW.mean, (3, 1, 1))) / np.reshape(HOW.std, (3, 1, 1))


def test_a_path_a_picture_and_an_array_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.fromarray(PIXELS).save(path)
    for one in path, str(path), Image.fromarray(PIXELS), PIXELS:
        images = prepare_images(one, ABOUT)
        assert (images.shape, images.dtype) == ((1, 3, 32, 32), np.float32)
        np.testing.assert_allclose(images[0], EXPECTED, rtol=1e-5, atol=1e-6)


def test_several() -> None:
    other = PIXELS[::-1]
    both = prepare_images([PIXELS, Image.fromarray(other)], ABOUT)
    np.testing.assert_array_equal(both, np.concatenate([prepare_images(PIXELS, ABOUT), prepare_images(other, ABOUT)]))
    np.testing.assert_array_equal(prepare_images(np.stack([PIXELS, other]), ABOUT), both)
    np.testing.assert_array_equal(prepare_images(iter((PIXELS, other)), ABOUT), both)


def test_size_and_colour_are_brought_to_the_models() -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 255  # the centre, which is what stays
    images = prepare_images([wide, wide[..., 0]], ABOUT)
    white = prepare_images(np.full((32, 32, 3), 255, np.uint8), ABOUT)
    assert images.shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[:1, :, :, 8:24], white[:, :, :, 8:24])


def test_orientation_is_obeyed() -> None:
    turned = Image.fromarray(PIXELS).transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # "turn right by 90 degrees to see it upright"
    np.testing.assert_array_equal(prepare_images(turned, ABOUT), prepare_images(PIXELS, ABOUT))


def test_a_checkpoint_what_it_says_and_its_preprocessing_mean_the_same() -> None:
    expected = prepare_images(PIXELS, ABOUT)
    for how in ABOUT.preprocessing, load_checkpoint(DEFAULT):
        np.testing.assert_array_equal(prepare_images(PIXELS, how), expected)
    with pytest.raises(TypeError, match="preprocessing must be a Preprocessing, an About or a Checkpoint, got tuple"):
        prepare_images(PIXELS, ((0, 0, 0), (1, 1, 1)))  # type: ignore[arg-type]


def test_a_model_of_float64_takes_them() -> None:
    model = LeViT(get_config("levit_250k_32px"), num_classes=2, image_size=32, dtype=np.float64).eval()
    assert model(prepare_images(PIXELS, ABOUT)).dtype == np.float64


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        prepare_images(tmp_path / "gone.png", ABOUT)
    (tmp_path / "noise.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(FileError, match=r"noise\.png: cannot be read as a picture"):
        prepare_images([PIXELS, tmp_path / "noise.png"], ABOUT)
    with pytest.raises(TypeError, match="an array must be of uint8, 0 to 255, got float64"):
        prepare_images(PIXELS / 255, ABOUT)
    with pytest.raises(ValueError, match=r"an array must be \(H, W, 3\) or \(H, W\), got \(3, 32, 32\)"):
        prepare_images(PIXELS.transpose(2, 0, 1), ABOUT)
    with pytest.raises(TypeError, match="must be paths, PIL images or arrays, got int"):
        prepare_images(3, ABOUT)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got NoneType"):
        prepare_images([None], ABOUT)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="pictures: there is none"):
        prepare_images([], ABOUT)


def test_there_and_back_through_json() -> None:
    how = Preprocessing((32, 48), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), crop_fraction=0.875, interpolation="bilinear")
    assert Preprocessing.from_dict(json.loads(json.dumps(dataclasses.asdict(how)))) == how
    assert Preprocessing(32) == Preprocessing((32, 32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="missing field std"):
        Preprocessing.from_dict({k: v for k, v in dataclasses.asdict(how).items() if k != "std"})
    with pytest.raises(ValueError, match="unknown field colour"):
        Preprocessing.from_dict({**dataclasses.asdict(how), "colour": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0), ("size", (32,)), ("size", (32.0, 32)), ("size", (True, 32)), ("size", None), ("size", "32"),
        ("mean", (0, 0)), ("mean", "abc"), ("mean", (0, 0, np.nan)), ("mean", None), ("mean", (0, 0, 10**400)),
        ("std", (1, 1, 0)), ("std", (1, 1, -1)), ("std", (1, 1, np.inf)), ("std", (1, 1, None)), ("std", (True, 1, 1)),
        ("crop_fraction", 0), ("crop_fraction", 1.1), ("crop_fraction", "1"), ("crop_fraction", np.nan),
        ("interpolation", "cubic"), ("interpolation", 3), ("interpolation", []),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Preprocessing(**{"size": (32, 32), field: value})


def test_a_crop_fraction_leaves_out_the_border() -> None:
    bordered = np.zeros((80, 80, 3), np.uint8)
    bordered[20:60, 20:60] = 200  # the middle half of each axis
    whole, half = (Preprocessing((40, 40), crop_fraction=share).pixels(bordered) for share in (1.0, 0.5))
    assert whole.min() == 0
    assert (half[:, 1:-1, 1:-1] == 200).all()


def test_interpolation_is_the_one_that_is_named() -> None:
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    values = {name: set(np.unique(Preprocessing((24, 24), interpolation=name).pixels(edge))) for name in INTERPOLATIONS}
    assert values["nearest"] == {0, 255}
    assert len(values["bilinear"]) > 2
    assert values["bicubic"] != values["bilinear"] != values["lanczos"]


def test_examples_of_the_docstrings() -> None:
    failed, tried = doctest.testmod(preprocessing)
    assert (failed, tried > 0) == (0, True)
