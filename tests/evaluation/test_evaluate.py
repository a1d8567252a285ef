"""Evaluation against a computation on all pictures at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from levit_ref.data import ArrayDataset, Augmentation
from levit_ref.evaluation import evaluate
from levit_ref.nn import LeViT
from tests.training.tiny_run import VARIANT

CLASSES = tuple("abcdefgh")
RNG = np.random.default_rng(0)
PICTURES = ArrayDataset(RNG.integers(0, 256, (50, 3, 16, 16), np.uint8), RNG.integers(0, 8, 50), CLASSES)
HOW = Augmentation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), flip=1.0, mixup=1.0)


def random_model():
    """A model whose answers differ from picture to picture."""
    model = LeViT(VARIANT, num_classes=8, image_size=16, dtype=np.float64)
    model.flat_data[:] = np.random.default_rng(1).standard_normal(model.flat_data.size)
    return model


@pytest.mark.parametrize("batch_size", [7, 50, 1000])
def test_all_numbers(batch_size):
    model = random_model()
    result = evaluate(model, PICTURES, batch_size, HOW)
    pixels = torch.from_numpy(PICTURES.images / 255.0)
    mean, std = (torch.tensor(v)[:, None, None] for v in (HOW.mean, HOW.std))
    model.eval()
    logits = torch.from_numpy(model(((pixels - mean) / std).numpy()))
    labels = torch.from_numpy(PICTURES.labels)
    assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)
    assert result.accuracy == (logits.argmax(1) == labels).double().mean().item()
    assert result.top5 == (logits.topk(5).indices == labels[:, None]).any(1).double().mean().item()
    assert result.accuracy < result.top5 < 1
    assert result.confusion.sum(axis=1).tolist() == np.bincount(PICTURES.labels, minlength=8).tolist()
    assert result.confusion.sum(axis=0).tolist() == np.bincount(logits.argmax(1), minlength=8).tolist()


def test_the_model_is_left_as_it_was():
    model = random_model()
    before, training = model.state_dict(), model.training
    evaluate(model, PICTURES, 16)
    assert model.training == training
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in before.items())


def test_progress_is_reported_and_can_end_it():
    seen = []
    evaluate(random_model(), PICTURES, 20, on_batch=lambda *args: seen.append(args))
    assert seen == [(20, 50), (40, 50), (50, 50)]


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="the dataset has 8 classes, the model 3"):
        evaluate(LeViT(VARIANT, num_classes=3, image_size=16), PICTURES)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate(random_model(), PICTURES, 0)
    with pytest.raises(ValueError, match="the dataset is empty"):
        evaluate(random_model(), ArrayDataset(np.zeros((0, 3, 16, 16), np.uint8), np.zeros(0, int), CLASSES))
