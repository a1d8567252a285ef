"""Classification of pictures: the model's own probabilities, for anything that is a picture."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import levit_ref
from levit_ref.checkpoints import About, Checkpoint
from levit_ref.evaluation import NonFiniteLogitsError, Prediction, classify, most_probable, on_dataset, on_pictures
from levit_ref.files import FileError
from levit_ref.preprocessing import Preprocessing
from tests.evaluation.test_on_dataset import CLASSES, HOW, PICTURES, random_model, same_answer

ARRAYS = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in PICTURES.images[:7]]  # (16, 16, 3)
CHECKPOINT = Checkpoint(random_model(), About(HOW, CLASSES))


def probabilities() -> np.ndarray:
    """Of the first seven pictures, computed by hand: (7, 8)."""
    pixels = (PICTURES.images[:7] / 255 - np.reshape(HOW.mean, (3, 1, 1))) / np.reshape(HOW.std, (3, 1, 1))
    with CHECKPOINT.model.inference():
        logits = CHECKPOINT.model(pixels)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_probabilities_are_the_model_s(batch_size: int) -> None:
    expected = probabilities()
    found = classify(CHECKPOINT, ARRAYS, top=8, batch_size=batch_size)
    assert len(found) == 7
    for row, answer in zip(expected, found, strict=True):
        assert [p.index for p in answer] == np.argsort(-row).tolist()
        assert [p.class_name for p in answer] == [CLASSES[p.index] for p in answer]
        np.testing.assert_allclose([p.probability for p in answer], np.sort(row)[::-1], rtol=1e-3, atol=1e-12)


def test_one_picture_is_a_list_of_one() -> None:
    (one,) = classify(CHECKPOINT, ARRAYS[0])
    assert [p.index for p in one] == [p.index for p in classify(CHECKPOINT, ARRAYS)[0]]
    assert len(one) == 5
    assert len(classify(CHECKPOINT, ARRAYS[0], top=99)[0]) == 8


def test_a_bare_model_needs_a_preprocessing_and_knows_no_names() -> None:
    with pytest.raises(ValueError, match="classify: a model alone does not say how its pictures are normalised"):
        classify(CHECKPOINT.model, ARRAYS)
    found = classify(CHECKPOINT.model, ARRAYS, preprocessing=HOW)
    assert [[p.index for p in row] for row in found] == [[p.index for p in row] for row in classify(CHECKPOINT, ARRAYS)]
    assert found[0][0].class_name == str(found[0][0].index)


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "noise.png").write_bytes(b"\x89PNG no more")
    Image.fromarray(ARRAYS[0]).save(tmp_path / "good.png")
    pictures = [tmp_path / name for name in ("noise.png", "good.png", "gone.png")]
    with pytest.raises(FileError, match=r"noise\.png"):
        classify(CHECKPOINT, pictures)
    seen: list[tuple[Any, str]] = []
    for batch_size in 1, 2, 3:
        seen.clear()
        bad, good, gone = classify(
            CHECKPOINT, pictures, batch_size=batch_size, on_error=lambda p, e: seen.append((p, type(e).__name__))
        )
        assert (bad, gone) == ([], [])
        assert [p.index for p in good] == [p.index for p in classify(CHECKPOINT, ARRAYS[0])[0]]
        assert seen == [(pictures[0], "FileError"), (pictures[2], "FileNotFoundError")]


def test_the_model_s_mode_is_left_alone() -> None:
    model = random_model().train()
    classify(model, ARRAYS, preprocessing=HOW)
    assert model.training


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        classify(CHECKPOINT, ARRAYS, top=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        classify(CHECKPOINT, ARRAYS, batch_size=0)
    with pytest.raises(ValueError, match="pictures: there is none"):
        classify(CHECKPOINT, [])
    with pytest.raises(ValueError, match=r"makes pictures of \(32, 32\)"):
        classify(CHECKPOINT, ARRAYS, preprocessing=Preprocessing(32))
    with pytest.raises(NonFiniteLogitsError, match=r"the logits are not finite, since head\.linear\.bias is not"):
        classify(same_answer(np.nan), ARRAYS, preprocessing=HOW)


def test_the_most_probable_come_first_and_equals_in_order() -> None:
    ((a, b, c),) = most_probable(np.log([[0.2, 0.5, 0.2, 0.1]]), ("w", "x", "y", "z"), top=3)
    assert a == Prediction("x", 1, pytest.approx(0.5))
    assert (b.index, c.index) == (0, 2)
    assert most_probable(np.zeros((1, 2)))[0][1] == Prediction("1", 1, 0.5)


def test_it_is_at_the_top() -> None:
    assert levit_ref.classify is classify


@pytest.mark.parametrize("module", [on_dataset, on_pictures])
def test_examples_of_the_docstrings(module: Any) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
