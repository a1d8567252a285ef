"""Attention rollout: shares of the first tokens, through blocks and through shrinking attention."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.inspection import ATTENTION, Rollout, attention_rollout, draw_rollout, record
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


def probabilities(model: LeViT, images: Array) -> dict[str, Array]:
    seen: dict[str, Array] = {}
    keep = FunctionTap(lambda n, v: seen.update({n.removesuffix(".probs"): v.copy()}) if n.endswith("probs") else None)
    model(images, keep)
    return seen


def rollout_of(model: LeViT, images: Array, **options: float) -> Rollout:
    return attention_rollout(record(model, images, ATTENTION), **options)


def test_rows_are_shares(model64: LeViT, images64: Array) -> None:
    rollout = rollout_of(model64, images64)
    assert [m.shape for m in rollout.mixtures.values()] == [(3, 16, 16), (3, 4, 16), (3, 4, 16), (3, 4, 16)]
    for mixture in rollout.mixtures.values():
        assert (mixture >= 0).all()
        np.testing.assert_allclose(mixture.sum(axis=-1), 1)
    np.testing.assert_allclose(rollout.pooled.sum(axis=(1, 2)), 1)


def test_the_product_written_out(model64: LeViT, images64: Array) -> None:
    probs = probabilities(model64, images64)
    P = {name: p.mean(axis=1) for name, p in probs.items()}
    R = 0.5 * np.eye(16) + 0.5 * P["stages.0.blocks.0.attn"]
    R = np.einsum("bij,bjk->bik", P["stages.1.downsample.attn_downsample"], R)  # no residual path, no identity
    for block in range(2):
        R = np.einsum("bij,bjk->bik", 0.5 * np.eye(4) + 0.5 * P[f"stages.1.blocks.{block}.attn"], R)
    rollout = rollout_of(model64, images64)
    np.testing.assert_allclose(rollout.mixtures["stages.1.blocks.1.attn"], R, rtol=1e-12)
    np.testing.assert_allclose(rollout.pooled, R.mean(axis=1).reshape(3, 4, 4), rtol=1e-12)
    np.testing.assert_allclose(rollout.token("stages.1.blocks.1.attn", (1, 0)), R[:, 2].reshape(3, 4, 4), rtol=1e-12)


def test_with_nothing_but_the_skip_path_shrinking_attention_alone_mixes(model64: LeViT, images64: Array) -> None:
    rollout = rollout_of(model64, images64, skip=1)
    np.testing.assert_array_equal(rollout.mixtures["stages.0.blocks.0.attn"], np.broadcast_to(np.eye(16), (3, 16, 16)))
    shrunk = probabilities(model64, images64)["stages.1.downsample.attn_downsample"].mean(axis=1)
    np.testing.assert_allclose(rollout.mixtures["stages.1.blocks.1.attn"], shrunk)


def test_one_stage_and_odd_maps() -> None:
    for changes in ({"embed_dims": (8,), "num_heads": (2,), "depths": (1,), "downsample_heads": ()}, {}):
        model = tiny((20, 28), **changes)
        rollout = rollout_of(model, np.zeros((1, 3, 20, 28)))
        assert rollout.pooled.shape == (1, 5, 7)
        assert rollout.pooled.sum() == pytest.approx(1)


def test_a_share_outside_of_0_to_1_is_refused(model64: LeViT, images64: Array) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        rollout_of(model64, images64, skip=1.5)


def test_a_layer_that_was_not_recorded_is_missed(model64: LeViT, images64: Array) -> None:
    acts = record(model64, images64, ["stages.0.*.probs", "stages.1.blocks.1.attn.probs"])
    with pytest.raises(ValueError, match=r"attention_rollout needs stages.1.downsample.*probs and 1 more, which"):
        attention_rollout(acts)


def test_drawing(model64: LeViT, images64: Array, picture: Array, rendered) -> None:
    rollout = rollout_of(model64, images64)
    figure = draw_rollout(picture, rollout, image=1)
    rendered(figure)
    panels = [ax for ax in figure.axes if len(ax.images) == 2]
    assert len(panels) == 3  # one token of each map size, and the pooled features
    np.testing.assert_allclose(panels[-1].images[1].get_array() * rollout.pooled[1].max(), rollout.pooled[1])
