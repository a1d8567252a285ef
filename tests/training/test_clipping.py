"""Clipping against torch: the global norm, and the adaptive rule written out with torch functions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from levit_ref.ops import global_norm
from levit_ref.ops._rows import CHUNK
from levit_ref.ops.clipping import unit_norms
from levit_ref.training.clipping import clip_adaptive, clip_global_norm


@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_global_norm_agrees_with_torch(max_norm):
    grads = np.random.default_rng(0).standard_normal(2 * CHUNK + 3)
    parameter = torch.nn.Parameter(torch.zeros(grads.size, dtype=torch.float64))
    parameter.grad = torch.from_numpy(grads.copy())
    theirs = torch.nn.utils.clip_grad_norm_([parameter], max_norm)
    ours = clip_global_norm(grads, max_norm)
    assert ours == pytest.approx(float(theirs), rel=1e-12)
    np.testing.assert_allclose(grads, parameter.grad.numpy(), rtol=1e-12)


def test_global_norm_of_many_small_float32_values():
    grads = np.full(4_000_000, 1e-4, np.float32)
    assert global_norm(grads) == pytest.approx(0.2, rel=1e-5)


def adaptive_with_torch(data, grad, clip, eps):
    """Equation 3 of Brock et al., for one parameter."""
    axes = tuple(range(1, data.ndim)) or (0,)
    bound = torch.linalg.vector_norm(data, dim=axes, keepdim=True).clamp(min=eps) * clip
    norm = torch.linalg.vector_norm(grad, dim=axes, keepdim=True)
    return torch.where(norm < bound, grad, grad * bound / norm.clamp(min=1e-6))


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (6, 10), (4, 49), (12,)])
def test_adaptive_clipping_agrees_with_torch(shape):
    rng = np.random.default_rng(0)
    data = rng.standard_normal(shape)
    grad = rng.standard_normal(shape)
    if len(shape) > 1:
        grad[::2] *= 1e-4  # these units stay below their bound
        data[1] = 0  # and this one has the floor for its norm
    expected = adaptive_with_torch(torch.from_numpy(data), torch.from_numpy(grad), 0.01, 1e-3).numpy()
    parameter = SimpleNamespace(data=data, grad=grad.copy())
    clipped = clip_adaptive([parameter], clip=0.01, eps=1e-3)
    np.testing.assert_allclose(parameter.grad, expected, rtol=1e-12)
    assert clipped == (shape[0] // 2 if len(shape) > 1 else 1)


def test_adaptive_clipping_leaves_small_gradients_to_the_bit():
    grad = np.full((3, 4), 1e-9, np.float32)
    parameter = SimpleNamespace(data=np.ones((3, 4), np.float32), grad=grad.copy())
    assert clip_adaptive([parameter]) == 0
    assert parameter.grad.tobytes() == grad.tobytes()


def test_adaptive_clipping_survives_a_zero_gradient():
    parameter = SimpleNamespace(data=np.zeros((2, 3)), grad=np.zeros((2, 3)))
    clip_adaptive([parameter])
    assert not parameter.grad.any()


def test_units():
    assert unit_norms(np.ones((8, 3, 3, 3))).shape == (8, 1, 1, 1)
    assert unit_norms(np.ones((5, 4))).tolist() == [[2.0]] * 5
    assert unit_norms(np.ones(9)).tolist() == [3.0]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_bounds_must_be_positive(value):
    with pytest.raises(ValueError, match="max_norm must be positive"):
        clip_global_norm(np.ones(3), value)
    with pytest.raises(ValueError, match="clip must be positive"):
        clip_adaptive([], clip=value)
    with pytest.raises(ValueError, match="eps must be positive"):
        clip_adaptive([], eps=value)
