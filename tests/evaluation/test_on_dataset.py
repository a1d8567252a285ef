"""Evaluation against a computation on all pictures at once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from levit_ref.checkpoints import About, Checkpoint
from levit_ref.data import ArrayDataset, Subset
from levit_ref.evaluation import EvalResult, NonFiniteLogitsError, check_classes, evaluate
from levit_ref.evaluation.on_dataset import called_against
from levit_ref.nn import LeViT
from levit_ref.preprocessing import Preprocessing
from tests.training.tiny_run import VARIANT

CLASSES = tuple("abcdefgh")
RNG = np.random.default_rng(0)
PICTURES = ArrayDataset(RNG.integers(0, 256, (50, 3, 16, 16), np.uint8), RNG.integers(0, 8, 50), CLASSES)
HOW = Preprocessing((16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def random_model() -> LeViT:
    """A model whose answers differ from picture to picture."""
    model = LeViT(VARIANT, num_classes=8, image_size=16, dtype=np.float64)
    model.flat_data[:] = np.random.default_rng(1).standard_normal(model.flat_data.size)
    return model


def same_answer(bias: float) -> LeViT:
    """A model whose logits are all ``bias``."""
    model = random_model()
    for head in model.head, model.head_dist:
        if head is not None:
            head.linear.weight.data[:] = 0
            assert head.linear.bias is not None
            head.linear.bias.data[:] = bias
    return model


@pytest.mark.parametrize("batch_size", [7, 50, 1000])
def test_all_numbers(batch_size: int) -> None:
    model = random_model()
    result = evaluate(model, PICTURES, preprocessing=HOW, batch_size=batch_size)
    pixels = torch.from_numpy(PICTURES.images / 255.0)
    mean, std = (torch.tensor(v)[:, None, None] for v in (HOW.mean, HOW.std))
    logits = torch.from_numpy(model.eval()(((pixels - mean) / std).numpy()))
    labels = torch.from_numpy(PICTURES.labels)
    assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)
    assert result.accuracy == (logits.argmax(1) == labels).double().mean().item()
    assert result.top5 == (logits.topk(5).indices == labels[:, None]).any(1).double().mean().item()
    assert result.accuracy < result.top5 < 1
    assert result.pictures == 50
    assert result.confusion.sum(axis=1).tolist() == np.bincount(PICTURES.labels, minlength=8).tolist()
    assert result.confusion.sum(axis=0).tolist() == np.bincount(logits.argmax(1), minlength=8).tolist()


def test_a_checkpoint_brings_its_preprocessing() -> None:
    model = random_model()
    expected = evaluate(model, PICTURES, preprocessing=HOW)
    about = About(HOW, CLASSES)
    for result in (
        evaluate(Checkpoint(model, about), PICTURES),
        evaluate(model, PICTURES, preprocessing=about),
        evaluate(model, PICTURES, preprocessing=Checkpoint(model, about)),
        evaluate(Checkpoint(model, About(Preprocessing(16))), PICTURES, preprocessing=HOW),
    ):
        assert (result.loss, result.within5) == (expected.loss, expected.within5)
    assert evaluate(Checkpoint(model, About(Preprocessing(16))), PICTURES).loss != expected.loss


def test_nobody_evaluates_on_unnormalised_pixels_by_leaving_an_argument_out() -> None:
    with pytest.raises(
        ValueError, match=r"evaluate: a model alone does not say .* pass its checkpoint .*preprocessing="
    ):
        evaluate(random_model(), PICTURES)
    with pytest.raises(TypeError, match="preprocessing must be a Preprocessing, an About or a Checkpoint, got tuple"):
        evaluate(random_model(), PICTURES, preprocessing=(0.5, 0.5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a LeViT or a Checkpoint, got NoneType"):
        evaluate(None, PICTURES)  # type: ignore[arg-type]


def test_parts_add_up() -> None:
    checkpoint = Checkpoint(random_model(), About(HOW, CLASSES))
    whole = evaluate(checkpoint, PICTURES)
    first, second = (evaluate(checkpoint, Subset(PICTURES, part)) for part in (np.arange(20), np.arange(20, 50)))
    both = first + second
    assert both.loss == pytest.approx(whole.loss, rel=1e-12)
    assert (both.pictures, both.correct, both.within5) == (50, whole.correct, whole.within5)
    np.testing.assert_array_equal(both.confusion, whole.confusion)
    with pytest.raises(ValueError, match="cannot add results of 8 and of 2 classes"):
        first + EvalResult(0.0, 0, np.zeros((2, 2), np.int64))


def test_ties_are_never_right() -> None:
    result = evaluate(same_answer(0.5), PICTURES, preprocessing=HOW)
    assert (result.correct, result.within5, result.pictures) == (0, 0, 50)
    logits = np.array([[1.0, 1, 0, 0, 0, 0, 0], [2, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1], [3, 2, 2, 2, 2, 1, 0]])
    called, rivals = called_against(logits, np.array([1, 0, 3, 4]))
    assert called.tolist() == [0, 0, 6, 0]
    assert rivals.tolist() == [1, 0, 6, 4]
    assert called_against(np.zeros((2, 1)), np.zeros(2, int))[0].tolist() == [0, 0]  # the only class is right


@pytest.mark.parametrize("bias", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error_that_names_the_model(bias: float) -> None:
    with pytest.raises(NonFiniteLogitsError, match=r"tiny: the logits are not finite, since head\.linear\.bias is not"):
        evaluate(same_answer(bias), PICTURES, preprocessing=HOW)


def test_pictures_are_decoded_in_the_background_and_in_order() -> None:
    threads: list[str] = []
    asked: list[int] = []

    class Watched(ArrayDataset):
        def batch(self, indices: Any) -> Any:
            threads.append(threading.current_thread().name)
            asked.extend(indices)
            return super().batch(indices)

    dataset = Watched(PICTURES.images, PICTURES.labels, CLASSES)
    evaluate(random_model(), dataset, preprocessing=HOW, batch_size=20)
    assert threading.main_thread().name not in threads
    assert asked == list(range(50))


def test_the_model_is_left_as_it_was() -> None:
    model = random_model()
    before, training = model.state_dict(), model.training
    evaluate(model, PICTURES, preprocessing=HOW, batch_size=16)
    assert model.training == training
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in before.items())


def test_progress_is_reported_and_can_end_it() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(random_model(), PICTURES, preprocessing=HOW, batch_size=20, on_batch=lambda *args: seen.append(args))
    assert [total for _, total in seen] == [50, 50, 50]
    assert [done for done, _ in seen] == [17, 34, 50]  # batches are evened out

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        evaluate(random_model(), PICTURES, preprocessing=HOW, batch_size=5, on_batch=stop)
    assert threading.active_count() == threads


def test_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="the dataset has 8 classes, the model 3"):
        evaluate(LeViT(VARIANT, num_classes=3, image_size=16), PICTURES, preprocessing=HOW)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate(random_model(), PICTURES, preprocessing=HOW, batch_size=0)
    with pytest.raises(ValueError, match="the dataset is empty"):
        empty = ArrayDataset(np.zeros((0, 3, 16, 16), np.uint8), np.zeros(0, int), CLASSES)
        evaluate(random_model(), empty, preprocessing=HOW)
    with pytest.raises(ValueError, match=r"makes pictures of \(32, 32\), the model takes \(16, 16\)"):
        evaluate(random_model(), PICTURES, preprocessing=Preprocessing(32))
    other = ArrayDataset(np.zeros((2, 3, 24, 24), np.uint8), np.zeros(2, int), CLASSES)
    with pytest.raises(ValueError, match="16 x 16 pixels, those of the dataset have 24 x 24"):
        evaluate(random_model(), other, preprocessing=HOW)
    wrong = Checkpoint(random_model(), About(HOW, tuple("abcdefgx")))
    with pytest.raises(ValueError, match="class 7 of the model is x, that of the dataset is h"):
        evaluate(wrong, PICTURES)
    with pytest.raises(ValueError, match="the model has 8 classes, the dataset 2"):
        check_classes(wrong.about, ("a", "b"))
