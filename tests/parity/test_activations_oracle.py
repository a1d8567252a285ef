"""Names, shapes, values and gradients of everything inside agree with transformers' LeViT and autograd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from levit_ref import run_with_activations, run_with_gradients
from levit_ref.configs import get_config
from levit_ref.inspection import Activations
from levit_ref.nn import LeViT, LeViTConfig
from tests.parity.hooks import Captured, gradients_of_inner_values, inner_values
from tests.parity.oracle import make_oracle, pictures, randomise
from tests.parity.test_transformers_oracle import SMALL

CASES = [
    (get_config("levit_128s"), 112, np.float64),  # maps of 7x7, 4x4, 2x2
    (SMALL, 80, np.float64),
    (SMALL, 80, np.float32),
]


@dataclass
class Inside:
    """The same pass by both, and the gradients of a weighted sum of the logits."""

    model: LeViT
    acts: Activations
    grads: Activations
    theirs: Mapping[str, Captured]
    weights: npt.NDArray[np.floating[Any]]
    tolerance: float


@pytest.fixture(scope="module", params=[False, True], ids=["eval", "train"])
def training(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].name}-{case[2].__name__}")
def inside(request: pytest.FixtureRequest, training: bool) -> Inside:
    config: LeViTConfig
    config, size, dtype = request.param
    model = LeViT(config, num_classes=7, image_size=size, dtype=dtype)
    randomise(model, np.random.default_rng(2104), spread=1.5 if dtype is np.float64 else 0.3)
    model.train(training)
    oracle = make_oracle(model)
    images = pictures(np.random.default_rng(1136), 5 if dtype is np.float64 else 16, model.image_size).astype(dtype)
    state = model.state_dict()
    _, acts = run_with_activations(model, images, "*")
    model.load_state_dict(state)
    weights = np.random.default_rng(7).standard_normal((len(images), 7)).astype(dtype)
    _, grads = run_with_gradients(model, images, "*", of=lambda _: weights)
    theirs = inner_values(oracle, model, images)
    return Inside(model, acts, grads, theirs, weights, 1e-9 if dtype is np.float64 else 1e-4)


def test_the_catalogue_and_the_hooks_have_the_same_names(inside: Inside) -> None:
    assert set(inside.theirs) == {spec.name for spec in inside.model.activation_specs()}


def test_shapes_and_values(inside: Inside) -> None:
    for name, value in inside.acts.items():
        theirs = inside.theirs[name].numpy()
        assert value.shape == theirs.shape, name
        np.testing.assert_allclose(value, theirs, rtol=0, atol=inside.tolerance * np.abs(theirs).max(), err_msg=name)


def test_gradients(inside: Inside) -> None:
    total = (inside.theirs["logits"].tensor * torch.from_numpy(inside.weights)).sum()
    theirs = gradients_of_inner_values(inside.theirs, total)
    for name, ours in inside.grads.items():
        atol = inside.tolerance * np.abs(theirs[name]).max()
        np.testing.assert_allclose(ours, theirs[name], rtol=0, atol=atol, err_msg=name)
