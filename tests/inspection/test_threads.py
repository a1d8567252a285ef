"""Several threads look into one model at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from levit_ref import run_with_gradients
from levit_ref.inspection import input_gradient, integrated_gradients, record
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny

THREADS, ROUNDS = 4, 3


def recorded(model: LeViT, images: Array) -> list[Array]:
    return list(record(model, images, "*").values())


def gradients(model: LeViT, images: Array) -> list[Array]:
    with model.inference():
        return list(run_with_gradients(model, images, "*", of=1)[1].values())


def saliency(model: LeViT, images: Array) -> list[Array]:
    return [input_gradient(model, images).gradient, integrated_gradients(model, images, 2, steps=3).attributions]


@pytest.mark.parametrize("look", [recorded, gradients, saliency])
def test_every_thread_sees_its_own_pass(
    look: Callable[[LeViT, Array], list[Array]], backend: str, rng: np.random.Generator
) -> None:
    model = tiny(dtype=np.float32)  # in training mode: looking inside needs evaluation mode, for all threads
    model.flat_grad[...] = rng.standard_normal(model.flat_grad.shape)
    before = model.flat_grad.copy(), model.flat_buffers.copy()
    batches = rng.standard_normal((THREADS, 2, 3, 16, 16)).astype(np.float32)
    alone = [look(model, images) for images in batches]
    start = threading.Barrier(THREADS)

    def work(images: Array) -> list[list[Array]]:
        start.wait()
        return [look(model, images) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, batches))
    for expected, rounds in zip(alone, found, strict=True):
        for values in rounds:
            for value, right in zip(values, expected, strict=True):
                np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-6)
    assert model.training
    np.testing.assert_array_equal(model.flat_grad, before[0])
    np.testing.assert_array_equal(model.flat_buffers, before[1])
