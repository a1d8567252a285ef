"""What is particular to attention: its numbered steps, its bias, and the tap that sees them."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.ops import attention_backward, attention_forward, softmax_forward
from tests.ops.case import Array, relative_error
from tests.ops.docstrings import evaluate


class Recorder:
    """A tap that keeps what it sees, and replaces what it is told to replace."""

    def __init__(self, **replacements: Array) -> None:
        self.seen: dict[str, Array] = {}
        self.replacements = replacements

    def __call__(self, name: str, value: Array) -> Array:
        assert name not in self.seen
        self.seen[name] = value
        return self.replacements.get(name, value)


@pytest.fixture
def qkvb(rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """B = 2, heads = 3, N_q = 4, N_k = 6, D = 5, E = 7."""
    shapes = (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7), (3, 4, 6)
    q, k, v, bias = (rng.standard_normal(shape) for shape in shapes)
    return q, k, v, bias


def test_worked_by_hand() -> None:
    """One query, two keys: with scores log 3 and 0 the first value weighs three times the second."""
    q = np.array([[[[np.log(3), 0.0]]]])
    k = np.array([[[[2.0, 5.0], [0.0, -5.0]]]])
    v = np.array([[[[4.0, 0.0], [0.0, 8.0]]]])
    context, saved = attention_forward(q, k, v, scale=0.5)
    np.testing.assert_allclose(saved.probs, [[[[0.75, 0.25]]]], rtol=1e-15)
    np.testing.assert_allclose(context, [[[[3, 2]]]], rtol=1e-15)

    dq, dk, dv, dbias = attention_backward(np.array([[[[1.0, 0.0]]]]), saved)
    np.testing.assert_allclose(dv, [[[[0.75, 0], [0.25, 0]]]], rtol=1e-15)
    # dprobs = (4, 0), their mean under probs is 3: dscores = (0.75 (4 - 3), 0.25 (0 - 3)) = (0.75, -0.75)
    np.testing.assert_allclose(dbias, [[[0.75, -0.75]]], rtol=1e-15)
    np.testing.assert_allclose(dq, [[[[0.5 * 0.75 * 2, 0.5 * 0.75 * (5 + 5)]]]], rtol=1e-15)
    np.testing.assert_allclose(dk, [[[[0.375 * np.log(3), 0], [-0.375 * np.log(3), 0]]]], rtol=1e-15)


def test_the_bias_is_added_unscaled() -> None:
    """With a scale of a thousandth the scores vanish, the bias does not."""
    q, k, v = np.full((1, 1, 1, 1), 1e-9), np.ones((1, 1, 2, 1)), np.array([[[[1.0], [0.0]]]])
    context, _ = attention_forward(q, k, v, np.log([[[3.0, 1.0]]]), scale=1e-3)
    assert context[0, 0, 0, 0] == pytest.approx(0.75, rel=1e-9)


def test_the_formulas_of_the_docstrings(qkvb: tuple[Array, Array, Array, Array], rng: np.random.Generator) -> None:
    q, k, v, bias = qkvb
    tap = Recorder()
    context, saved = attention_forward(q, k, v, bias, scale=0.3, tap=tap)
    np.testing.assert_allclose(tap.seen["scores"], 0.3 * evaluate(attention_forward, "scores", q=q, k=k), rtol=1e-12)
    np.testing.assert_allclose(tap.seen["scores_biased"], tap.seen["scores"] + bias, rtol=1e-12)
    np.testing.assert_allclose(tap.seen["probs"], softmax_forward(tap.seen["scores_biased"])[0], rtol=1e-12)
    np.testing.assert_allclose(context, evaluate(attention_forward, "context", probs=saved.probs, v=v), rtol=1e-12)


def test_backward_permutes_the_subscripts_of_forward(
    qkvb: tuple[Array, Array, Array, Array], rng: np.random.Generator
) -> None:
    """Each product's gradient is the same einsum with the result and one factor exchanged."""
    q, k, v, bias = qkvb
    context, saved = attention_forward(q, k, v, bias, scale=0.3)
    dcontext = rng.standard_normal(context.shape)
    tap = Recorder()
    dq, dk, dv, dbias = attention_backward(dcontext, saved, tap=tap)
    dscores = tap.seen["scores"]
    np.testing.assert_allclose(dv, np.einsum("bhqk,bhqe->bhke", saved.probs, dcontext), rtol=1e-11)
    np.testing.assert_allclose(tap.seen["probs"], np.einsum("bhqe,bhke->bhqk", dcontext, v), rtol=1e-11)
    np.testing.assert_allclose(dbias, np.einsum("bhqk->hqk", dscores), rtol=1e-11)
    assert relative_error(dq, 0.3 * np.einsum("bhqk,bhkd->bhqd", dscores, k)) < 1e-12
    assert relative_error(dk, 0.3 * np.einsum("bhqk,bhqd->bhkd", dscores, q)) < 1e-12


def test_no_bias_is_a_bias_of_zeros(qkvb: tuple[Array, Array, Array, Array], rng: np.random.Generator) -> None:
    q, k, v, bias = qkvb
    without, saved_without = attention_forward(q, k, v, scale=0.3)
    zeros, saved_zeros = attention_forward(q, k, v, np.zeros_like(bias), scale=0.3)
    np.testing.assert_array_equal(without, zeros)
    dcontext = rng.standard_normal(without.shape)
    for a, b in zip(
        attention_backward(dcontext, saved_without), attention_backward(dcontext, saved_zeros), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_one_key_is_taken_whatever_it_scores(rng: np.random.Generator) -> None:
    q, k, v = (rng.standard_normal((2, 1, n, 3)) for n in (4, 1, 1))
    context, saved = attention_forward(q, k, v, scale=1.0)
    np.testing.assert_array_equal(context, np.broadcast_to(v, (2, 1, 4, 3)))
    dq, dk, dv, dbias = attention_backward(np.ones((2, 1, 4, 3)), saved)
    for gradient in (dq, dk, dbias):
        np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(dv, 4)


def test_the_order_of_the_keys_does_not_matter(
    qkvb: tuple[Array, Array, Array, Array], rng: np.random.Generator
) -> None:
    q, k, v, bias = qkvb
    order = rng.permutation(6)
    context, _ = attention_forward(q, k, v, bias, scale=0.3)
    shuffled, _ = attention_forward(q, k[:, :, order], v[:, :, order], bias[:, :, order], scale=0.3)
    np.testing.assert_allclose(shuffled, context, rtol=1e-12)


def test_the_tap_sees_every_step_in_order_and_changes_nothing_by_looking(
    qkvb: tuple[Array, Array, Array, Array],
) -> None:
    forward, backward = Recorder(), Recorder()
    context, saved = attention_forward(*qkvb, scale=0.3, tap=forward)
    assert list(forward.seen) == ["scores", "scores_biased", "probs", "context"]
    assert forward.seen["scores"] is not forward.seen["scores_biased"]
    plain, plain_saved = attention_forward(*qkvb, scale=0.3)
    np.testing.assert_array_equal(context, plain)

    gradients = attention_backward(np.ones_like(context), saved, tap=backward)
    assert list(backward.seen) == ["context", "probs", "scores_biased", "scores"]
    for seen, unseen in zip(gradients, attention_backward(np.ones_like(context), plain_saved), strict=True):
        np.testing.assert_array_equal(seen, unseen)


def test_what_the_tap_returns_flows_on(qkvb: tuple[Array, Array, Array, Array], rng: np.random.Generator) -> None:
    q, k, v, bias = qkvb
    uniform = np.full((2, 3, 4, 6), 1 / 6)
    mean = np.broadcast_to(v.mean(axis=2, keepdims=True), (2, 3, 4, 7))
    for edit in (
        {"probs": uniform},
        {"scores_biased": np.zeros_like(uniform)},
        {"scores": np.zeros_like(uniform) - bias},
    ):
        context, saved = attention_forward(q, k, v, bias, scale=0.3, tap=Recorder(**edit))
        np.testing.assert_allclose(context, mean, rtol=1e-12, atol=1e-14)
        # and backward differentiates what was computed
        np.testing.assert_allclose(attention_backward(np.ones_like(context), saved)[2], 4 / 6, rtol=1e-12)
    replaced = rng.standard_normal((2, 3, 4, 7))
    assert attention_forward(q, k, v, bias, scale=0.3, tap=Recorder(context=replaced))[0] is replaced

    _, saved = attention_forward(q, k, v, bias, scale=0.3)
    dq, _, dv, dbias = attention_backward(replaced, saved, tap=Recorder(scores_biased=np.zeros_like(uniform)))
    np.testing.assert_array_equal(dq, 0)
    np.testing.assert_array_equal(dbias, 0)
    assert dv.any()


def test_probabilities_that_were_not_kept_are_computed_again(qkvb: tuple[Array, Array, Array, Array]) -> None:
    context, saved = attention_forward(*qkvb, scale=0.3)
    again = attention_backward(np.ones_like(context), saved._replace(probs=None))
    for got, expected in zip(again, attention_backward(np.ones_like(context), saved), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("changed", "shape", "message"),
    [
        ("q", (2, 3, 4, 9), r"k has shape \(2, 3, 6, 5\), expected \(2, 3, 6, 9\)"),
        ("k", (2, 3, 5, 5), r"k has shape \(2, 3, 5, 5\), expected \(2, 3, 6, 5\)"),
        ("k", (1, 3, 6, 5), r"k has shape \(1, 3, 6, 5\), expected \(2, 3, 6, 5\)"),
        ("v", (2, 1, 6, 7), r"v has shape \(2, 1, 6, 7\), expected \(2, 3, 6, 7\)"),
        ("bias", (1, 4, 6), r"bias has shape \(1, 4, 6\), expected \(3, 4, 6\)"),
        ("bias", (2, 3, 4, 6), r"bias has shape \(2, 3, 4, 6\), expected \(3, 4, 6\)"),
        ("q", (3, 4, 5), r"q must have 4 axes \(B, heads, N_q, D\), got shape \(3, 4, 5\)"),
        ("v", (2, 3, 0, 7), r"v is empty, got shape \(2, 3, 0, 7\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    qkvb: tuple[Array, Array, Array, Array], changed: str, shape: tuple[int, ...], message: str
) -> None:
    names = ("q", "k", "v", "bias")
    q, k, v, bias = (np.ones(shape) if name == changed else array for name, array in zip(names, qkvb, strict=True))
    with pytest.raises(ValueError, match="attention: " + message):
        attention_forward(q, k, v, bias, scale=0.3)
