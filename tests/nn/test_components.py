"""Every component's backward pass against finite differences, in both modes, for its input and all its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from levit_ref.nn import (
    Activation,
    Attention,
    AttentionDownsample,
    BatchNorm,
    Block,
    Conv2d,
    ConvNorm,
    Downsample,
    DropPath,
    LayerNorm,
    Linear,
    LinearNorm,
    Mlp,
    Module,
    NormLinear,
    Stage,
    Stem,
    StemConv,
    TokenGrid,
    lean_backward,
)
from levit_ref.nn.attention import Projection, SubsampledLinear
from levit_ref.ops import Array
from tests.gradcheck import check_gradients
from tests.nn.networks import TINY, randomise

Build = Callable[[np.random.Generator], Module]
Shape = tuple[int, ...]

TOKENS = (3, 12, 8)
"""(B, N, C): a 3x4 map, neither square nor even."""


GRID = TokenGrid(3, 4)
NO_DROP = DropPath(0)


def attention(**changes: object) -> Build:
    return lambda rng: Attention(replace(TINY, **changes), 0, GRID, rng)


def shrinking(**changes: object) -> Build:
    config = replace(TINY, key_dim=3, downsample_heads=(2,), embed_dims=(8, 6), **changes)
    return lambda rng: AttentionDownsample(config, 1, GRID, rng)


def stem(norm: str) -> Build:
    return lambda rng: Stem(replace(TINY, norm=norm), (7, 10), rng)


CONV = StemConv(4, 3, 2, 1)
LAYER_CONFIG = replace(TINY, norm="layer", position="embedding")

COMPONENTS: dict[str, tuple[Build, Shape, Shape]] = {
    # name: how to build it, shape of the input, shape of the output
    "conv": (lambda rng: Conv2d(3, CONV, rng), (2, 3, 5, 6), (2, 4, 3, 3)),
    "conv with bias": (lambda rng: Conv2d(3, CONV, rng, bias=True), (2, 3, 5, 6), (2, 4, 3, 3)),
    "linear": (lambda rng: Linear(8, 5, rng), TOKENS, (3, 12, 5)),
    "linear with bias": (lambda rng: Linear(8, 5, rng, bias=True), TOKENS, (3, 12, 5)),
    "batch norm of tokens": (lambda _: BatchNorm(8), TOKENS, TOKENS),
    "batch norm of images": (lambda _: BatchNorm(3, channel_axis=1), (2, 3, 4, 5), (2, 3, 4, 5)),
    "layer norm of tokens": (lambda _: LayerNorm(8), TOKENS, TOKENS),
    "layer norm of images": (lambda _: LayerNorm(3, channel_axis=1), (2, 3, 4, 5), (2, 3, 4, 5)),
    "silu": (lambda _: Activation("silu"), TOKENS, TOKENS),
    "gelu": (lambda _: Activation("gelu"), TOKENS, TOKENS),
    "conv, batch norm": (lambda rng: ConvNorm(3, CONV, "batch", rng), (2, 3, 5, 6), (2, 4, 3, 3)),
    "conv, layer norm": (lambda rng: ConvNorm(3, CONV, "layer", rng), (2, 3, 5, 6), (2, 4, 3, 3)),
    "linear, batch norm": (lambda rng: LinearNorm(8, 5, "batch", rng), TOKENS, (3, 12, 5)),
    "linear, no norm": (lambda rng: LinearNorm(8, 5, "layer", rng), TOKENS, (3, 12, 5)),
    "batch norm, linear": (lambda rng: NormLinear(8, 5, "batch", rng), (4, 8), (4, 5)),
    "layer norm, linear": (lambda rng: NormLinear(8, 5, "layer", rng), (4, 8), (4, 5)),
    "stem": (stem("batch"), (2, 3, 7, 10), (2, 6, 8)),
    "stem, layer norm": (stem("layer"), (2, 3, 7, 10), (2, 6, 8)),
    "projection": (
        lambda rng: Projection(TINY, 8, 5, rng, scale=1), TOKENS, (3, 12, 5),
    ),
    "subsampled linear": (
        lambda rng: SubsampledLinear(8, 5, GRID, 2, "batch", rng), TOKENS, (3, 4, 5),
    ),
    "attention": (attention(), TOKENS, TOKENS),
    "attention, layer norm": (attention(norm="layer"), TOKENS, TOKENS),
    "attention, no bias": (attention(position="embedding"), TOKENS, TOKENS),
    "attention, plain values": (attention(attn_ratio=1), TOKENS, TOKENS),
    "shrinking attention": (shrinking(), TOKENS, (3, 4, 6)),
    "shrinking attention, layer norm": (shrinking(norm="layer", position="embedding"), TOKENS, (3, 4, 6)),
    "mlp": (lambda rng: Mlp(TINY, 8, 2, rng), TOKENS, TOKENS),
    "mlp, layer norm": (lambda rng: Mlp(LAYER_CONFIG, 8, 2, rng), TOKENS, TOKENS),
    "block": (lambda rng: Block(TINY, 0, GRID, rng, NO_DROP), TOKENS, TOKENS),
    "block, layer norm": (lambda rng: Block(LAYER_CONFIG, 0, GRID, rng, NO_DROP), TOKENS, TOKENS),
    "shrinking block": (lambda rng: Downsample(TINY, 1, GRID, rng, NO_DROP), TOKENS, (3, 4, 12)),
    "first stage": (lambda rng: Stage(TINY, 0, GRID, rng, NO_DROP), TOKENS, TOKENS),
    "second stage": (lambda rng: Stage(TINY, 1, GRID, rng, NO_DROP), TOKENS, (3, 4, 12)),
}  # fmt: skip

COMPOSITES = ["block", "block, layer norm", "shrinking block", "first stage", "second stage"]
"""Made of the components above: one direction through all their parameters together."""


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", COMPONENTS)
def test_gradients(name: str, training: bool, rng: np.random.Generator) -> None:
    build, input_shape, output_shape = COMPONENTS[name]
    module = build(rng)
    randomise(module, rng)
    module.train(training)
    parameters = dict(module.named_parameters())
    if name in COMPOSITES:
        point = {"all parameters": np.concatenate([parameter.data.ravel() for parameter in parameters.values()])}
    else:
        point = {n: parameter.data.copy() for n, parameter in parameters.items()}
    point["x"] = rng.standard_normal(input_shape)

    def function(x: Array, **values: Array) -> Array:
        if "all parameters" in values:
            ends = np.cumsum([parameter.size for parameter in parameters.values()])[:-1]
            values = dict(zip(parameters, np.split(values["all parameters"], ends), strict=True))
        for n, value in values.items():
            parameters[n].data = value.reshape(parameters[n].shape)
        return module(x)

    y = function(**point)
    assert y.shape == output_shape
    assert y.dtype == np.float64
    dy = rng.standard_normal(y.shape)
    gradients = {"x": module.backward(dy)}
    of_parameters = {n: parameter.grad.copy() for n, parameter in parameters.items()}
    if name in COMPOSITES:
        gradients["all parameters"] = np.concatenate([gradient.ravel() for gradient in of_parameters.values()])
    else:
        gradients |= of_parameters
    check_gradients(function, point, gradients, dy, rng, tolerance=1e-6)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", COMPONENTS)
def test_backward_adds_up_and_may_be_repeated(name: str, training: bool, rng: np.random.Generator) -> None:
    build, input_shape, _ = COMPONENTS[name]
    module = build(rng)
    randomise(module, rng)
    module.train(training)
    y = module(rng.standard_normal(input_shape))
    dy = rng.standard_normal(y.shape)
    dx = module.backward(dy)
    once = {n: parameter.grad.copy() for n, parameter in module.named_parameters()}
    np.testing.assert_array_equal(module.backward(dy), dx)
    for n, parameter in module.named_parameters():
        np.testing.assert_array_equal(parameter.grad, 2 * once[n], err_msg=n)


@pytest.mark.parametrize("name", COMPONENTS)
def test_forward_and_backward_change_neither_input(name: str, rng: np.random.Generator) -> None:
    build, input_shape, _ = COMPONENTS[name]
    module = build(rng)
    x = rng.standard_normal(input_shape)
    kept = x.copy()
    y = module(x)
    dy = rng.standard_normal(y.shape)
    kept_dy = dy.copy()
    module.backward(dy)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, kept_dy)


def test_batch_norm_moves_its_statistics_in_training_only(rng: np.random.Generator) -> None:
    norm = BatchNorm(2)
    x = rng.standard_normal((4, 3, 2)) * [1, 10] + [5, 0]
    norm(x)
    np.testing.assert_allclose(norm.running_mean.data, 0.1 * x.mean(axis=(0, 1)))
    np.testing.assert_allclose(norm.running_var.data, 0.9 + 0.1 * x.var(axis=(0, 1), ddof=1))
    assert norm.num_batches_tracked.data == 1
    kept = norm.state_dict()
    norm.eval()
    norm(x)
    for name, value in norm.state_dict().items():
        np.testing.assert_array_equal(value, kept[name])


@pytest.mark.parametrize("name", ["stem", "stem, layer norm"])
def test_without_the_gradient_of_the_images_the_weights_get_the_same(name: str, rng: np.random.Generator) -> None:
    build, input_shape, output_shape = COMPONENTS[name]
    module = build(rng)
    assert isinstance(module, Stem)
    module(rng.standard_normal(input_shape))
    dy = rng.standard_normal(output_shape)
    module.backward(dy)
    full = {n: parameter.grad.copy() for n, parameter in module.named_parameters()}
    module.zero_grad()
    with lean_backward():
        assert module.backward(dy) is None
    for n, parameter in module.named_parameters():
        np.testing.assert_array_equal(parameter.grad, full[n], err_msg=n)
