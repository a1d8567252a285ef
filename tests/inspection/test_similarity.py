"""CKA: what it must not see (rotation, scale, shift), what it must, and its two estimates."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.inspection import AFTER_BLOCKS, draw_layer_similarity, layer_similarity, linear_cka, record
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny

both = pytest.mark.parametrize("debiased", [False, True], ids=["plain", "debiased"])


@both
def test_of_a_representation_with_itself(debiased: bool, rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 7))
    assert linear_cka(x, x, debiased=debiased) == pytest.approx(1)


@both
def test_rotation_scale_and_shift_change_nothing(debiased: bool, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((20, 7)), rng.standard_normal((20, 4))
    y[:, 0] += x[:, 0]
    rotation, _ = np.linalg.qr(rng.standard_normal((7, 7)))
    turned = 3 * x @ rotation + rng.standard_normal(7)
    assert linear_cka(x, turned, debiased=debiased) == pytest.approx(1)
    assert linear_cka(turned, y, debiased=debiased) == pytest.approx(linear_cka(x, y, debiased=debiased))


@both
def test_any_other_linear_map_does_change_it(debiased: bool, rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 5))
    assert linear_cka(x, x * [10, 1, 1, 1, 0.1], debiased=debiased) < 0.9


def test_the_formula_with_features(rng: np.random.Generator) -> None:
    """Kornblith et al., equation 4 with centred features: products of features instead of examples."""
    x, y = rng.standard_normal((12, 5)), rng.standard_normal((12, 3))
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert linear_cka(x, y) == pytest.approx(expected)


def test_the_debiased_formula(rng: np.random.Generator) -> None:
    """Song et al. 2012, equation 5, written out."""

    def hsic(K: Array, L: Array) -> float:
        n, one = len(K), np.ones(len(K))
        total = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))

    x, y = rng.standard_normal((9, 5)) + 2, rng.standard_normal((9, 3))
    y[:, :2] += x[:, :2]
    K, L = x @ x.T, y @ y.T
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    expected = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
    assert linear_cka(x, y, debiased=True) == pytest.approx(expected)


def test_noise_looks_similar_only_to_the_plain_estimate(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 30, 2000))
    assert linear_cka(x, y) > 0.9
    assert abs(linear_cka(x, y, debiased=True)) < 0.1


def test_layers_of_a_model(model64: LeViT, rng: np.random.Generator) -> None:
    images = rng.standard_normal((10, 3, 16, 16))
    values: dict[str, Array] = {}
    model64(images, FunctionTap(lambda name, value: values.__setitem__(name, value.copy())))
    names = ["stem.tokens", "pooled", "logits"]
    found = layer_similarity(record(model64, images, names, batch_size=4), names=names, debiased=False)
    assert found.images == 10
    assert found.rows == found.columns == ("stem.tokens", "pooled", "logits")
    for i, row in enumerate(found.rows):
        for j, column in enumerate(found.columns):
            assert found.cka[i, j] == pytest.approx(linear_cka(values[row], values[column]), rel=1e-9)


def test_two_models(model64: LeViT, rng: np.random.Generator) -> None:
    images = rng.standard_normal((10, 3, 16, 16))
    other = tiny(depths=(1, 1))
    acts = record(model64, images, AFTER_BLOCKS)
    found = layer_similarity(acts, record(other, images, AFTER_BLOCKS))
    assert found.cka.shape == (6, 5)
    assert found.columns[-2:] == ("stages.1.blocks.0.resid_post", "logits")
    same = layer_similarity(acts, acts)
    np.testing.assert_allclose(np.diag(same.cka), 1)


def test_refusals(model64: LeViT, rng: np.random.Generator) -> None:
    acts = record(model64, rng.standard_normal((5, 3, 16, 16)), "*")
    with pytest.raises(ValueError, match="records of 5 and of 4 pictures"):
        layer_similarity(acts, record(model64, rng.standard_normal((4, 3, 16, 16)), "*"))
    with pytest.raises(ValueError, match=r"attn.bias has axes \(heads, N_q, N_k\), none of images"):
        layer_similarity(acts, names="stages.0.blocks.0.attn.bias")
    x = rng.standard_normal((6, 3))
    with pytest.raises(ValueError, match="6 examples and y 5"):
        linear_cka(x, x[:5])
    with pytest.raises(ValueError, match="at least 4 examples, got 3"):
        linear_cka(x[:3], x[:3], debiased=True)
    with pytest.raises(ValueError, match="same for all examples"):
        linear_cka(x, np.full((6, 3), 0.1))


def test_drawing(model64: LeViT, rng: np.random.Generator, rendered) -> None:
    found = layer_similarity(record(model64, rng.standard_normal((8, 3, 16, 16)), AFTER_BLOCKS))
    figure = draw_layer_similarity(found)
    rendered(figure)
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.images[0].get_array(), found.cka)
    assert ax.texts[0].get_text() == "1.00"
    assert "8 pictures" in ax.get_title()
