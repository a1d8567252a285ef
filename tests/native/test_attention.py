"""Attention by the fused kernel, and by the same steps one at a time, against NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref import functional as F
from levit_ref import ops
from levit_ref.ops.attention import AttentionSaved
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_close, assert_same_bits_for_any_threads, few, misaligned, normal

NAMES = ("context", "dq", "dk", "dv", "dbias")
channels = st.sampled_from([1, 3, 8, 16, 17, 32, 33, 64])
tokens = st.one_of(st.integers(1, 20), st.sampled_from([31, 32, 33, 49, 64, 97]))

Arrays = tuple[np.ndarray, ...]


def draw(B: int, heads: int, N_q: int, N_k: int, D: int, E: int) -> tuple[np.ndarray, ...]:
    """q, k, v, bias and dcontext."""
    shapes = (B, heads, N_q, D), (B, heads, N_k, D), (B, heads, N_k, E), (heads, N_q, N_k), (B, heads, N_q, E)
    return tuple(normal(seed, *shape) for seed, shape in enumerate(shapes))


def both_passes(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None, dcontext: np.ndarray, module: object = F
) -> Arrays:
    """Context and all gradients."""
    scale = q.shape[-1] ** -0.5
    context, saved = module.attention_forward(q, k, v, bias, scale=scale)  # type: ignore[attr-defined]
    return (context, *module.attention_backward(dcontext, saved))  # type: ignore[attr-defined]


def assert_agrees(got: Arrays, q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None, dc: np.ndarray):
    double = [None if a is None else a.astype(np.float64) for a in (q, k, v, bias, dc)]
    expected = both_passes(*double, module=ops)  # type: ignore[arg-type]
    for name, a, b in zip(NAMES, got, expected, strict=True):
        # The scores are sums of D products, and probabilities differ by as much as scores do; sums over tokens follow.
        terms = q.shape[-1] + v.shape[-1] + q.shape[2] + k.shape[2] + 30
        try:
            assert_close(a, b, terms=terms, scale=max(float(np.abs(b).max()), 1.0))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


@few
@given(B=st.integers(1, 5), heads=st.integers(1, 3), N_q=tokens, N_k=tokens, D=channels, E=channels, bias=st.booleans())
def test_forward_and_backward(B: int, heads: int, N_q: int, N_k: int, D: int, E: int, bias: bool) -> None:
    q, k, v, b, dcontext = draw(B, heads, N_q, N_k, D, E)
    arguments = q, k, v, b if bias else None, dcontext
    assert_agrees(both_passes(*arguments), *arguments)


@pytest.mark.parametrize(("N_q", "N_k"), [(196, 196), (49, 196), (300, 310), (1, 700), (700, 1)])
def test_more_queries_than_are_held_at_a_time(N_q: int, N_k: int) -> None:
    arguments = draw(2, 2, N_q, N_k, 16, 32)
    assert_agrees(both_passes(*arguments), *arguments)


def columns_of_one(B: int, heads: int, N: int, D: int, E: int, x: np.ndarray | None = None) -> list[np.ndarray]:
    """q, k and v as LeViT has them: columns of one product (B, N, heads (D + D + E))."""
    x = normal(0, B, N, heads * (2 * D + E)) if x is None else x
    return np.split(x.reshape(B, N, heads, 2 * D + E).transpose(0, 2, 1, 3), (D, 2 * D), axis=-1)


def test_views_of_one_array_are_read_and_written_in_place() -> None:
    B, heads, N, D, E = 3, 2, 49, 16, 32
    q, k, v = columns_of_one(B, heads, N, D, E)
    *_, bias, dcontext = draw(B, heads, N, N, D, E)
    context, saved = F.attention_forward(q, k, v, bias, scale=0.25)
    assert saved.q is q
    assert saved.k is k
    assert saved.v is v
    assert context.transpose(0, 2, 1, 3).flags.c_contiguous  # heads side by side: merging them copies nothing
    *gradients, dbias = F.attention_backward(dcontext, saved)
    dqkv = F.merge_heads(*gradients)
    assert all(np.shares_memory(dqkv, gradient) for gradient in gradients)  # columns of one array, too
    np.testing.assert_array_equal(dqkv, ops.merge_heads(*gradients))
    copies = [np.ascontiguousarray(a) for a in (q, k, v)]
    expected = both_passes(*copies, bias, dcontext)
    for a, b in zip((context, *gradients, dbias), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_strides_and_alignment() -> None:
    arguments = draw(2, 3, 33, 20, 16, 24)
    expected = both_passes(*arguments)
    with_steps = [np.repeat(a, 2, axis=-1)[..., ::2] for a in arguments]  # channels apart
    reversed_tokens = [a[..., ::-1, :].copy()[..., ::-1, :] for a in arguments]  # negative strides
    for variant in (with_steps, reversed_tokens, [misaligned(a) for a in arguments]):
        for a, b in zip(both_passes(*variant), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("N_q", [9, 4])
def test_heads_are_merged_without_a_copy_only_where_they_lie_side_by_side(N_q: int) -> None:
    """Keys and values have as many tokens, queries perhaps fewer: two arrays then, or columns of one."""
    q, k, v, bias, dcontext = draw(2, 3, N_q, 9, 4, 8)
    _, saved = F.attention_forward(q, k, v, bias, scale=0.5)
    dq, dk, dv, _ = F.attention_backward(dcontext, saved)
    for parts in ((dq,), (dk, dv), (dv, dk), (dk,), (dq, dk, dv) if N_q == 9 else (dk, dv)):
        np.testing.assert_array_equal(F.merge_heads(*parts), ops.merge_heads(*parts))
    side_by_side = (dq, dk, dv) if N_q == 9 else (dk, dv)
    assert np.shares_memory(F.merge_heads(*side_by_side), dv)
    assert not np.shares_memory(F.merge_heads(dv, dk), dv)
    assert not np.shares_memory(F.merge_heads(*[part.copy() for part in side_by_side]), dv)


def test_nothing_besides_the_gradients_is_written() -> None:
    for N_q, N_k, D, E in [(1, 1, 1, 1), (17, 33, 5, 9), (33, 15, 16, 31)]:
        q, k, v, bias, dcontext = draw(2, 2, N_q, N_k, D, E)
        _, saved = F.attention_forward(q, k, v, bias, scale=1.0)
        guarded = [np.full((2, 2, a.shape[2] + 2, a.shape[3] + 32), 7, np.float32) for a in (q, k, v)]
        inside = [g[:, :, 1:-1, 16:-16] for g in guarded]
        extension.attention_backward(dcontext, q, k, v, np.ascontiguousarray(bias.swapaxes(1, 2)), 1.0, *inside)
        for got, expected in zip(inside, F.attention_backward(dcontext, saved), strict=False):
            np.testing.assert_array_equal(got, expected)
        for g, part in zip(guarded, inside, strict=True):
            part[...] = 7
            assert (g == 7).all()


# --- taps -------------------------------------------------------------------------------------------------------------


class Recorder:
    """A tap that keeps what it sees, and replaces what it is told to replace."""

    def __init__(self, **replacements: np.ndarray) -> None:
        self.seen: dict[str, np.ndarray] = {}
        self.replacements = replacements

    def __call__(self, name: str, value: np.ndarray) -> np.ndarray:
        self.seen[name] = value.copy()
        return self.replacements.get(name, value)

    def scope(self, name: str) -> Recorder:
        return self


@pytest.mark.parametrize(
    "shape", [(3, 2, 5, 7, 4, 3), (9, 2, 49, 49, 16, 32), (2, 1, 196, 196, 16, 32), (5, 3, 16, 64, 16, 64)]
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_looking_changes_no_bit(shape: tuple[int, ...], with_bias: bool) -> None:
    q, k, v, bias, dcontext = draw(*shape)
    b = bias if with_bias else None
    plain, plain_saved = F.attention_forward(q, k, v, b, scale=0.3)
    forward = Recorder()
    tapped, saved = F.attention_forward(q, k, v, b, scale=0.3, tap=forward)
    assert list(forward.seen) == ["scores", "scores_biased", "probs", "context"]
    np.testing.assert_array_equal(tapped, plain)
    expected = F.attention_backward(dcontext, plain_saved)
    for of in (saved, plain_saved):
        backward = Recorder()
        for got, right in zip(F.attention_backward(dcontext, of, tap=backward), expected, strict=True):
            np.testing.assert_array_equal(got, right)
        assert list(backward.seen) == ["context", "probs", "scores_biased", "scores"]
    for got, right in zip(F.attention_backward(dcontext, saved), expected, strict=True):
        np.testing.assert_array_equal(got, right)


def test_a_tap_sees_what_numpy_shows_it() -> None:
    q, k, v, bias, dcontext = draw(2, 3, 10, 12, 8, 9)
    got, expected = (Recorder(), Recorder()), (Recorder(), Recorder())
    for module, (forward, backward) in ((F, got), (ops, expected)):
        _, saved = module.attention_forward(q, k, v, bias, scale=0.3, tap=forward)
        module.attention_backward(dcontext, saved, tap=backward)
    for of_kernels, of_numpy in zip(got, expected, strict=True):
        assert list(of_kernels.seen) == list(of_numpy.seen)
        for name, value in of_numpy.seen.items():
            assert_close(of_kernels.seen[name], value, terms=50)


@pytest.mark.parametrize("name", ["scores", "scores_biased", "probs", "context"])
def test_what_the_tap_returns_flows_on(name: str) -> None:
    q, k, v, bias, dcontext = draw(2, 3, 10, 12, 8, 9)
    replacement = normal(9, 2, 3, 10, 9 if name == "context" else 12)
    results = []
    for module in (F, ops):
        context, saved = module.attention_forward(q, k, v, bias, scale=0.3, tap=Recorder(**{name: replacement}))
        gradients = module.attention_backward(dcontext, saved)  # of what was computed
        edited = module.attention_backward(dcontext, saved, tap=Recorder(**{name: replacement}))
        results.append((context, *gradients, *edited))
    for a, b in zip(*results, strict=True):
        assert_close(a, b, terms=100)


# --- both backends ----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved_by() -> Iterator[dict[str, tuple[np.ndarray, AttentionSaved]]]:
    q, k, v, bias, dcontext = draw(2, 3, 10, 12, 8, 9)
    yield {
        "native": (dcontext, F.attention_forward(q, k, v, bias, scale=0.3)[1]),
        "numpy": (dcontext, ops.attention_forward(q, k, v, bias, scale=0.3)[1]),
    }


@pytest.mark.parametrize("forward", ["native", "numpy"])
@pytest.mark.parametrize("backward", ["native", "numpy"])
def test_the_backend_may_change_between_the_passes(
    saved_by: dict[str, tuple[np.ndarray, AttentionSaved]], forward: str, backward: str
) -> None:
    dcontext, saved = saved_by[forward]
    with levit_ref.use_backend(backward):
        got = F.attention_backward(dcontext, saved)
    for a, b in zip(got, ops.attention_backward(*saved_by["numpy"]), strict=True):
        assert_close(a, b, terms=50)


def test_float64_is_served_by_numpy() -> None:
    q, k, v, bias, dcontext = (a.astype(np.float64) for a in draw(2, 3, 10, 12, 8, 9))
    for a, b in zip(
        both_passes(q, k, v, bias, dcontext), both_passes(q, k, v, bias, dcontext, module=ops), strict=True
    ):
        np.testing.assert_array_equal(a, b)


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(18, 3, 33, 20, 16, 32), (1, 5, 40, 40, 8, 8), (33, 2, 16, 16, 16, 32)])
def test_the_same_bits_for_any_threads(restore_threads: None, shape: tuple[int, ...]) -> None:
    arguments = draw(*shape)
    assert_same_bits_for_any_threads(lambda: both_passes(*arguments))


def test_nan_and_infinity_spread_as_in_numpy() -> None:
    q, k, v, bias, dcontext = draw(2, 2, 20, 20, 8, 8)
    q[0, 0, 3, 2] = np.nan
    bias[0, 5, :7] = -np.inf  # some keys masked
    bias[1, 6, :] = -np.inf  # all of them: 0 / 0
    bias[1, 7, 2] = np.inf
    v[1, 1, 4, 4] = np.inf
    dcontext[1, 0, 9, 1] = np.nan
    with np.errstate(invalid="ignore"):
        got = both_passes(q, k, v, bias, dcontext)
        expected = both_passes(q, k, v, bias, dcontext, module=ops)
    for name, a, b in zip(NAMES, got, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=name)
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b), err_msg=name)


def test_scores_that_overflow_without_the_maximum() -> None:
    q, k, v, bias, dcontext = draw(1, 1, 6, 6, 4, 4)
    usual = both_passes(q, k, v, bias, dcontext)
    for got, expected in zip(both_passes(q, k, v, bias + 1000, dcontext), usual, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-3)  # a bias of 1000 has so few digits left


def test_no_array_of_the_size_of_the_probabilities_exists() -> None:
    q, k, v, bias, dcontext = draw(8, 4, 128, 128, 16, 16)
    extension.release_buffers()
    before = extension.buffer_bytes()[0]
    context, saved = F.attention_forward(q, k, v, bias, scale=0.25)
    F.attention_backward(dcontext, saved)
    most = extension.buffer_bytes()[2] - before
    assert saved.probs is None
    assert most < 2 * (4 * context.nbytes + bias.nbytes)  # context, dq, dk, dv and dbias, sizes rounded up
    assert most < 8 * 4 * 128 * 128 * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q": np.zeros((1, 2, 3, 4))}, "q must be float32, got float64"),
        ({"k": np.zeros((1, 2, 3, 5), np.float32)}, r"k has shape \(1, 2, 3, 5\), expected \(1, 2, any, 4\)"),
        ({"v": np.zeros((1, 2, 4, 4), np.float32)}, r"v has shape \(1, 2, 4, 4\), expected \(1, 2, 3, any\)"),
        ({"v": np.zeros((1, 2, 3, 0), np.float32)}, "v is empty"),
        ({"v": np.zeros((1, 2, 3, 8), np.float32)[..., ::2]}, "v must have contiguous channels, got strides"),
        ({"bias": np.zeros((2, 3, 4), np.float32)}, r"bias has shape \(2, 3, 4\), expected \(2, 3, 3\)"),
    ],
)
def test_the_binding_refuses_what_the_kernel_cannot_read(changes: dict[str, np.ndarray], message: str) -> None:
    arguments = {name: np.zeros((1, 2, 3, 4), np.float32) for name in ("q", "k", "v")}
    arguments |= {"bias": np.zeros((2, 3, 3), np.float32), **changes}
    with pytest.raises((TypeError, ValueError), match=message):
        extension.attention_forward(**arguments, scale=1)


def test_gradients_that_cannot_be_written_are_refused() -> None:
    q, k, v, _, dcontext = draw(1, 2, 3, 4, 5, 6)
    read_only = [np.empty_like(a) for a in (q, k, v)]
    read_only[1].flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        extension.attention_backward(dcontext, q, k, v, None, 1.0, *read_only)
