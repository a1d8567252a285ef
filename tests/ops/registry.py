"""Every operation as an :class:`OpCase`. To add one: append a case here, and a file for what is particular to it.

Draws of sizes include batch 1, one head, one channel, odd and non-square maps; values are standard normal.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import torch
import torch.nn.functional as F

from levit_ref import ops
from tests.gradcheck import LARGEST_STEP
from tests.ops.case import Array, Example, OpCase, Sizes
from tests.ops.composed import batch_norm_backward, batch_norm_forward
from tests.ops.registry_losses import LOSSES

Generator = np.random.Generator


def sizes(**ranges: tuple[int, int] | st.SearchStrategy[Any]) -> st.SearchStrategy[Sizes]:
    """A dictionary of integers, each from an inclusive range, or of whatever a strategy draws."""
    return st.fixed_dictionaries({name: st.integers(*r) if isinstance(r, tuple) else r for name, r in ranges.items()})


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def shapes(min_axes: int, max_axes: int, longest: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, longest), min_size=min_axes, max_size=max_axes).map(tuple)


# Activations


def away_from(kink: float, x: Array) -> Array:
    """``x`` with every value pushed out of the reach of finite differences around ``+-kink``."""
    distance = np.abs(x) - kink
    return x + np.sign(x) * np.where(distance < 0, -1, 1) * (np.abs(distance) < 2 * LARGEST_STEP) * 2 * LARGEST_STEP


def make_activation(rng: Generator, shape: tuple[int, ...], kink: float | None = None) -> Example:
    x = 2.5 * rng.standard_normal(shape)
    return Example({"x": x if kink is None else away_from(kink, x)})


def activation(
    name: str, torch_function: Any, *, kink: float | None = None, hands_dy_on: tuple[str, ...] = ()
) -> OpCase:
    return OpCase(
        name=name,
        forward=getattr(ops, f"{name}_forward"),
        backward=getattr(ops, f"{name}_backward"),
        torch=torch_function,
        make=lambda rng, shape: make_activation(rng, shape, kink),
        sizes=sizes(shape=shapes(1, 4)),
        typical={"shape": (2, 3, 5)},
        any_shape=True,
        hands_dy_on=hands_dy_on,
    )


# Layers with weights

EPS = st.sampled_from([1e-5, 1e-3])


def make_conv(
    rng: Generator,
    B: int,
    C_in: int,
    C_out: int,
    kernel: tuple[int, int],
    extra: tuple[int, int],
    bias: bool,
    **options: Any,
) -> Example:
    (kH, kW), (pH, pW) = kernel, options["padding"]
    H, W = max(1, kH - 2 * pH) + extra[0], max(1, kW - 2 * pW) + extra[1]
    arrays = {"x": rng.standard_normal((B, C_in, H, W)), "weight": rng.standard_normal((C_out, C_in, kH, kW))}
    return Example(arrays | ({"bias": rng.standard_normal(C_out)} if bias else {}), options)


def make_linear(rng: Generator, leading: tuple[int, ...], C_in: int, C_out: int, bias: bool) -> Example:
    arrays = {"x": rng.standard_normal((*leading, C_in)), "weight": rng.standard_normal((C_out, C_in))}
    return Example(arrays | ({"bias": rng.standard_normal(C_out)} if bias else {}))


def make_batch_norm(rng: Generator, leading: tuple[int, ...], C: int, channel_axis: int, **options: Any) -> Example:
    x = np.moveaxis(2 * rng.standard_normal((*leading, C)) + rng.standard_normal(C), -1, channel_axis).copy()
    statistics = {"running_mean": rng.standard_normal(C), "running_var": rng.uniform(0.5, 2, C)}
    return Example(
        {"x": x, "weight": rng.standard_normal(C), "bias": rng.standard_normal(C)},
        {**statistics, "channel_axis": channel_axis, **options},
    )


def torch_batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    channel_axis: int,
    training: bool,
    eps: float,
) -> torch.Tensor:
    rows = x.movedim(channel_axis, -1)
    y = F.batch_norm(rows.reshape(-1, rows.shape[-1]), running_mean, running_var, weight, bias, training, eps=eps)
    return y.reshape(rows.shape).movedim(-1, channel_axis)


def make_layer_norm(rng: Generator, leading: tuple[int, ...], C: int, eps: float) -> Example:
    x = 2 * rng.standard_normal((*leading, C)) + 1
    return Example({"x": x, "weight": rng.standard_normal(C), "bias": rng.standard_normal(C)}, {"eps": eps})


def torch_layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, eps)


# Attention and tokens


def make_attention(rng: Generator, B: int, heads: int, N_q: int, N_k: int, D: int, E: int, bias: bool) -> Example:
    q, k, v = (rng.standard_normal((B, heads, *last)) for last in ((N_q, D), (N_k, D), (N_k, E)))
    arrays = {"q": q, "k": k, "v": v} | ({"bias": rng.standard_normal((heads, N_q, N_k))} if bias else {})
    return Example(arrays, {"scale": D**-0.5})


def torch_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None, *, scale: float
) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def make_position_bias(rng: Generator, heads: int, resolution: tuple[int, int], stride: int) -> Example:
    H, W = resolution
    index = ops.position_bias_index(resolution, stride)
    return Example({"table": rng.standard_normal((heads, H * W))}, {"index": index})


def make_subsample(rng: Generator, B: int, C: int, resolution: tuple[int, int], stride: int) -> Example:
    x = rng.standard_normal((B, resolution[0] * resolution[1], C))
    return Example({"x": x}, {"resolution": resolution, "stride": stride})


def torch_subsample(x: torch.Tensor, resolution: tuple[int, int], stride: int) -> torch.Tensor:
    grid = x.reshape(len(x), *resolution, -1)
    rows, columns = (torch.arange(0, n, stride) for n in resolution)
    return grid.index_select(1, rows).index_select(2, columns).flatten(1, 2)


def make_residual(rng: Generator, shape: tuple[int, ...], drop: float | None) -> Example:
    arrays = {"x": rng.standard_normal(shape), "branch": rng.standard_normal(shape)}
    return Example(
        arrays, {} if drop is None else {"factor": ops.drop_path_factor(rng.random(shape[0]), drop, np.float64)}
    )


def torch_residual(x: torch.Tensor, branch: torch.Tensor, factor: torch.Tensor | None = None) -> torch.Tensor:
    return x + branch if factor is None else torch.einsum("b...,b->b...", branch, factor) + x


def conv_case(name: str, bias: bool) -> OpCase:
    return OpCase(
        name,
        ops.conv2d_forward,
        ops.conv2d_backward,
        F.conv2d,
        make_conv,
        sizes(
            B=(1, 3),
            C_in=(1, 4),
            C_out=(1, 4),
            kernel=pairs(1, 4),
            extra=pairs(0, 5),  # rows and columns beyond the smallest image that the kernel fits on
            bias=st.just(bias),
            stride=pairs(1, 3),
            padding=pairs(0, 2),
        ),
        {
            "B": 2, "C_in": 3, "C_out": 4, "kernel": (3, 2), "extra": (3, 4), "bias": bias, "stride": (2, 1),
            "padding": (1, 0),
        },
    )  # fmt: skip


def linear_case(name: str, bias: bool) -> OpCase:
    drawn = sizes(leading=shapes(1, 3), C_in=(1, 6), C_out=(1, 6), bias=st.just(bias))
    typical = {"leading": (2, 5), "C_in": 3, "C_out": 4, "bias": bias}
    return OpCase(name, ops.linear_forward, ops.linear_backward, F.linear, make_linear, drawn, typical)


def batch_norm_case(name: str, training: bool, channel_axis: int) -> OpCase:
    # From two values of a channel training makes +-1 and a gradient of nearly zero: tests/ops/test_batchnorm.py.
    images = st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(3, 5))
    tokens = st.one_of(st.tuples(st.integers(6, 12)), st.tuples(st.just(1), st.integers(6, 9)), images)
    leading, typical_leading = (images, (2, 3, 4)) if channel_axis == 1 else (tokens, (3, 4))
    return OpCase(
        name,
        batch_norm_forward,
        batch_norm_backward,
        torch_batch_norm,
        make_batch_norm,
        sizes(leading=leading, C=(1, 5), eps=EPS, training=st.just(training), channel_axis=st.just(channel_axis)),
        {"leading": typical_leading, "C": 5, "eps": 1e-3, "training": training, "channel_axis": channel_axis},
    )


def attention_case(name: str, bias: bool) -> OpCase:
    drawn = sizes(B=(1, 3), heads=(1, 3), N_q=(1, 6), N_k=(1, 6), D=(1, 4), E=(1, 5), bias=st.just(bias))
    typical = {"B": 2, "heads": 3, "N_q": 4, "N_k": 6, "D": 5, "E": 7, "bias": bias}
    return OpCase(name, ops.attention_forward, ops.attention_backward, torch_attention, make_attention, drawn, typical)


def residual_case(name: str, drop: st.SearchStrategy[Any], typical_drop: Any, hands_dy_on: tuple[str, ...]) -> OpCase:
    return OpCase(
        name,
        ops.residual_forward,
        ops.residual_backward,
        torch_residual,
        make_residual,
        sizes(shape=shapes(1, 4), drop=drop),
        {"shape": (4, 3, 2), "drop": typical_drop},
        any_shape=True,
        hands_dy_on=hands_dy_on,
    )


CASES: tuple[OpCase, ...] = (
    activation("hardswish", F.hardswish, kink=3),
    activation("relu", F.relu, kink=0),
    activation("silu", F.silu),
    activation("gelu", F.gelu),
    activation("identity", torch.clone, hands_dy_on=("x",)),
    conv_case("conv2d", bias=False),
    conv_case("conv2d_with_bias", bias=True),
    linear_case("linear", bias=True),
    linear_case("linear_without_bias", bias=False),
    batch_norm_case("batch_norm_training", training=True, channel_axis=-1),
    batch_norm_case("batch_norm_inference", training=False, channel_axis=-1),
    batch_norm_case("batch_norm_training_images", training=True, channel_axis=1),
    batch_norm_case("batch_norm_inference_images", training=False, channel_axis=1),
    OpCase(
        "layer_norm",
        ops.layer_norm_forward,
        ops.layer_norm_backward,
        torch_layer_norm,
        make_layer_norm,
        # From few channels it makes +-1 and a gradient of nearly zero: tests/ops/test_layernorm.py.
        sizes(leading=shapes(0, 3), C=(6, 9), eps=EPS),
        {"leading": (2, 3), "C": 5, "eps": 1e-3},
    ),
    OpCase(
        "softmax",
        ops.softmax_forward,
        ops.softmax_backward,
        lambda x: torch.softmax(x, -1),
        make_activation,
        sizes(shape=shapes(1, 4, longest=6)),
        {"shape": (2, 3, 5)},
        any_shape=True,
    ),
    attention_case("attention", bias=True),
    attention_case("attention_without_bias", bias=False),
    OpCase(
        "position_bias",
        ops.position_bias_forward,
        ops.position_bias_backward,
        lambda table, index: table[:, index],
        make_position_bias,
        sizes(heads=(1, 3), resolution=pairs(1, 5), stride=(1, 3)),
        {"heads": 2, "resolution": (3, 4), "stride": 2},
    ),
    OpCase(
        "subsample",
        ops.subsample_forward,
        ops.subsample_backward,
        torch_subsample,
        make_subsample,
        sizes(B=(1, 3), C=(1, 4), resolution=pairs(1, 6), stride=(1, 4)),
        {"B": 2, "C": 3, "resolution": (3, 4), "stride": 2},
    ),
    residual_case("residual", st.none(), None, ("x", "branch")),
    residual_case("residual_drop_path", st.floats(0, 0.9), 0.4, ("x",)),
    OpCase(
        "global_average_pool",
        ops.global_average_pool_forward,
        ops.global_average_pool_backward,
        lambda x: x.mean(dim=1),
        lambda rng, B, N, C: Example({"x": rng.standard_normal((B, N, C))}),
        sizes(B=(1, 3), N=(1, 9), C=(1, 5)),
        {"B": 2, "N": 4, "C": 3},
    ),
    *LOSSES,
)
