"""The random numbers of a batch: what they mean, how they are distributed, and to whom they belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref.data import Augmentation
from levit_ref.data.draws import Draws, Mixing, draw

SIZE = (8, 8)


def drawn(count: int, seed: int = 0, **changes: object) -> Draws:
    return draw(count, SIZE, Augmentation(**changes), np.random.default_rng(seed))


def mixing_of(count: int, mixup: float, cutmix: float, probability: float = 1.0, box: float = 0.5) -> Mixing:
    mixing = drawn(count, mixup=mixup, cutmix=cutmix, mix_probability=probability, cutmix_probability=box).mixing
    assert mixing is not None
    return mixing


def test_nothing_is_drawn_for_what_is_off() -> None:
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    assert draw(5, SIZE, Augmentation(), rng) == Draws(None, None, None, None, None)
    assert rng.bit_generator.state == state


def test_the_places_of_a_batch_keep_their_numbers() -> None:
    draws = drawn(20, crop_padding=2, flip=0.5, brightness=0.5, cutout=3, mixup=1.0)
    places = np.array([3, 17, 0])
    some = draws.of(places)
    for whole, part in zip(draws[:4], some[:4], strict=True):
        assert part.flags.c_contiguous  # kernels ask for it
        np.testing.assert_array_equal(part, whole[..., places])


def test_a_reflection_wider_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="crop_padding 4 is too large to reflect pictures of 4 x 9 pixels"):
        draw(1, (4, 9), Augmentation(crop_padding=4, crop_fill="reflect"), np.random.default_rng(0))
    draw(1, (4, 9), Augmentation(crop_padding=4), np.random.default_rng(0))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_factors_are_around_one(brightness: float, contrast: float, saturation: float) -> None:
    factors = drawn(50, brightness=brightness, contrast=contrast, saturation=saturation).factors
    assert factors is not None and factors.shape == (3, 50) and factors.dtype == np.float32
    for row, strength in zip(factors, (brightness, contrast, saturation), strict=True):
        assert (np.abs(row - 1) <= strength + 1e-6).all()


class TestMixing:
    """Mixup and cutmix."""

    def test_mixup_has_one_share_and_no_box(self) -> None:
        mixing = mixing_of(64, mixup=1.0, cutmix=0.0)
        assert sorted(mixing.partners) == list(range(64))
        assert np.unique(mixing.shares).size > 50
        assert not mixing.boxes.any()
        weights = mixing.weights(np.arange(64), SIZE)
        np.testing.assert_array_equal(weights, np.broadcast_to(mixing.shares[:, None, None, None], (64, 1, *SIZE)))

    def test_cutmix_is_a_box_of_the_partner(self) -> None:
        mixing = mixing_of(64, mixup=0.0, cutmix=1.0)
        assert (mixing.shares == 1).all()
        weights = mixing.weights(np.arange(64), SIZE)[:, 0]  # (B, H, W)
        assert set(np.unique(weights)) == {0.0, 1.0}
        assert 0.2 < weights.mean() < 0.8
        for pasted in weights == 0:
            np.testing.assert_array_equal(pasted, np.outer(pasted.any(axis=1), pasted.any(axis=0)))

    @pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
    def test_the_switch_between_the_two(self, probability: float) -> None:
        mixing = mixing_of(4000, mixup=1.0, cutmix=1.0, box=probability)
        alone = mixing.partners == np.arange(4000)
        blended = mixing.shares < 1
        assert abs(1 - blended.mean() - probability) < 0.03
        assert not (blended & mixing.boxes.any(axis=0)).any()
        assert (mixing.shares[alone] == 1).all() and not mixing.boxes[:, alone].any()

    @pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
    def test_who_is_not_mixed_has_itself_for_a_partner(self, mixup: float, cutmix: float) -> None:
        mixing = mixing_of(1000, mixup, cutmix, probability=0.4)
        alone = mixing.partners == np.arange(1000)
        assert 0.55 < alone.mean() < 0.65
        assert (mixing.weights(np.flatnonzero(alone), SIZE) == 1).all()
        never = mixing_of(1000, mixup, cutmix, probability=0.0)
        np.testing.assert_array_equal(never.partners, np.arange(1000))
        assert (never.weights(np.arange(1000), SIZE) == 1).all()

    def test_a_batch_of_one(self) -> None:
        mixing = mixing_of(1, mixup=1.0, cutmix=1.0)
        assert mixing.partners.tolist() == [0]
        assert (mixing.weights(np.array([0]), SIZE) == 1).all()
