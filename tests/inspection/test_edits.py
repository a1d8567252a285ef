"""Edits: what an edit returns flows on, what it leaves alone stays, and every ready-made one does what it says."""

from __future__ import annotations

import numpy as np
import pytest

import levit_ref
from levit_ref import run_with_activations
from levit_ref.inspection import (
    Overwrite,
    patch,
    switch_off,
    switch_off_bias,
    switch_off_block,
    switch_off_head,
    uniform_attention,
)
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from tests.nn.names import expected_names
from tests.nn.networks import tiny

NAMES = expected_names(stem_convs=2, depths=(1, 2), two_heads=True)
ATTENTION = "stages.1.blocks.0.attn"


def logits_with(model: LeViT, images: Array, edits: object) -> Array:
    logits, _ = run_with_activations(model, images, [], edits=edits)  # type: ignore[arg-type]
    assert logits is not None
    return logits


def test_identity_edits_are_neutral(backend: str, model: LeViT, images: Array) -> None:
    plain = model(images)
    for name in NAMES:
        edited = logits_with(model, images, {name: lambda value: value})
        np.testing.assert_array_equal(edited, plain, err_msg=name)


def test_zero_edits_change_the_logits(backend: str, model: LeViT, images: Array) -> None:
    plain = model(images)
    for name in NAMES:
        assert np.abs(logits_with(model, images, switch_off(name)) - plain).max() > 1e-6, name


def test_patching_a_captured_value_back_is_neutral(backend: str, model: LeViT, images: Array) -> None:
    plain = model(images)
    for name in NAMES:
        _, acts = run_with_activations(model, images, name)
        np.testing.assert_array_equal(logits_with(model, images, patch(acts)), plain, err_msg=name)
        by_hand = {name: lambda _, value=acts[name]: value}
        np.testing.assert_array_equal(logits_with(model, images, by_hand), plain, err_msg=name)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_patching_everything_back_is_neutral(training: bool, backend: str, images: Array) -> None:
    model = tiny(dtype=np.float32)
    model.train(training)
    logits, acts = run_with_activations(model, images, "*")
    np.testing.assert_array_equal(logits_with(model, images, patch(acts)), logits)


@pytest.mark.parametrize("variant", ["levit_128s", "levit_1m_32px"])
def test_patching_is_neutral_in_real_networks(variant: str, backend: str, rng: np.random.Generator) -> None:
    model = levit_ref.create_model(variant, num_classes=10, seed=1)
    model.eval()
    images = rng.standard_normal((2, 3, *model.image_size)).astype(np.float32)
    logits, acts = run_with_activations(model, images, "*")
    np.testing.assert_array_equal(logits_with(model, images, patch(acts)), logits)


# --- what flows on -------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_what_flows_on(model: LeViT, images: Array) -> None:
    edits = {f"{ATTENTION}.probs": lambda probs: probs[:, ::-1]}  # the heads exchange their probabilities
    _, before = run_with_activations(model, images, f"{ATTENTION}.*")
    logits, acts = run_with_activations(model, images, f"{ATTENTION}.*", edits=edits)
    np.testing.assert_array_equal(acts[f"{ATTENTION}.probs"], before[f"{ATTENTION}.probs"][:, ::-1])
    expected = acts[f"{ATTENTION}.probs"] @ acts[f"{ATTENTION}.v"]
    np.testing.assert_allclose(acts[f"{ATTENTION}.context"], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(logits - model(images)).max() > 1e-6


def test_an_edit_may_work_in_place_and_harms_nothing_by_it(model: LeViT, images: Array) -> None:
    before = images.copy()

    def double(value: Array) -> Array:
        value *= 2
        return value

    expected = model(2 * images)
    np.testing.assert_array_equal(logits_with(model, images, {"images": double}), expected)
    np.testing.assert_array_equal(images, before)


def test_patterns_and_several_mappings_apply_in_turn(model: LeViT, images: Array) -> None:
    edits = [{"stages.1.*.attn.q": lambda q: q + 1}, {f"{ATTENTION}.q": lambda q: 10 * q}]
    _, before = run_with_activations(model, images, "*", stop_after=f"{ATTENTION}.q")
    _, acts = run_with_activations(model, images, "*.attn.q", edits=edits)
    np.testing.assert_array_equal(acts[f"{ATTENTION}.q"], 10 * (before[f"{ATTENTION}.q"] + 1))


def test_a_double_result_does_not_turn_the_network_into_one_of_doubles(model: LeViT, images: Array) -> None:
    logits = logits_with(model, images, {"pooled": lambda value: value.astype(np.float64)})
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, model(images))


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda value: value[:1], ValueError, r"the edit of pooled returned shape \(1, 12\), expected \(3, 12\)"),
        (lambda value: None, TypeError, "the edit of pooled must return an array, got NoneType"),
        (
            Overwrite(0, (slice(None), 12)),
            ValueError,
            r"the edit of pooled, which has shape \(3, 12\): index 12 is out",
        ),
        (Overwrite(np.zeros(5)), ValueError, r"the edit of pooled, which has shape \(3, 12\): could not broadcast"),
    ],
)
def test_edits_that_do_not_fit_are_refused_by_name(
    edit: object, error: type[Exception], message: str, model: LeViT, images: Array
) -> None:
    with pytest.raises(error, match=message):
        logits_with(model, images, {"pooled": edit})


# --- ready-made ones -----------------------------------------------------------------------------------------------


def test_a_head_switched_off_is_a_head_whose_values_are_lost(model: LeViT, images: Array) -> None:
    logits, acts = run_with_activations(model, images, f"{ATTENTION}.context", edits=switch_off_head(ATTENTION, 1))
    _, before = run_with_activations(model, images, f"{ATTENTION}.context")
    context, whole = acts[f"{ATTENTION}.context"], before[f"{ATTENTION}.context"]
    assert not context[:, 1].any()
    np.testing.assert_array_equal(context[:, [0, 2]], whole[:, [0, 2]])
    two = logits_with(model, images, switch_off_head(ATTENTION, [0, 1]))
    one_by_one = [switch_off_head(ATTENTION, 0), switch_off_head(ATTENTION, 1)]
    np.testing.assert_array_equal(two, logits_with(model, images, one_by_one))
    assert np.abs(two - logits).max() > 1e-6
    with pytest.raises(ValueError, match=r"the edit of .*attn.context, .*: index 3 is out of bounds"):
        logits_with(model, images, switch_off_head(ATTENTION, 3))


def test_a_bias_switched_off_is_a_table_of_zeros(backend: str, model: LeViT, images: Array) -> None:
    off = logits_with(model, images, switch_off_bias("stages.*.attn*"))
    one_head = logits_with(model, images, switch_off_bias(ATTENTION, 2))
    table = dict(model.named_parameters())[f"{ATTENTION}.attention_biases"]
    table.data[2] = 0
    np.testing.assert_allclose(model(images), one_head, rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name.endswith("attention_biases"):
            parameter.data[...] = 0
    np.testing.assert_allclose(model(images), off, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"norm": "layer"}], ids=str)
def test_a_block_switched_off_hands_its_input_on(changes: dict[str, object], images: Array) -> None:
    model = tiny(dtype=np.float32, **changes)
    model.eval()
    block = "stages.1.blocks.0"
    logits, acts = run_with_activations(model, images, f"{block}.resid_*", edits=switch_off_block(block))
    np.testing.assert_array_equal(acts[f"{block}.resid_post"], acts[f"{block}.resid_pre"])
    del model.stages[1].blocks[0]
    np.testing.assert_allclose(model(images), logits, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"there is no value 'stages.1.downsample.attn'"):
        logits_with(model, images, switch_off_block("stages.1.downsample"))


def test_uniform_attention_gives_every_query_the_mean_of_the_values(model: LeViT, images: Array) -> None:
    attention = "stages.1.downsample.attn_downsample"
    _, acts = run_with_activations(model, images, f"{attention}.*", edits=uniform_attention(attention))
    means = acts[f"{attention}.v"].mean(axis=2, keepdims=True)
    context = acts[f"{attention}.context"]
    np.testing.assert_allclose(context, np.broadcast_to(means, context.shape), rtol=1e-4, atol=1e-6)
    _, acts = run_with_activations(model, images, f"{attention}.probs", edits=uniform_attention(attention, [1]))
    probs = acts[f"{attention}.probs"]
    assert (probs[:, 1] == np.float32(1 / 16)).all()
    assert probs[:, 0].std() > 0


def test_a_patch_from_another_picture(model: LeViT, images: Array) -> None:
    name = "stages.1.blocks.0.resid_post"
    first, others = images[:1], images[1:]
    expected, acts = run_with_activations(model, first, name)
    patched = logits_with(model, others, patch(acts))  # one picture's value for every picture of the batch
    np.testing.assert_allclose(patched, np.repeat(expected, 2, axis=0), rtol=1e-5, atol=1e-6)

    token = (slice(None), 3)
    _, both = run_with_activations(model, others, name, edits=patch(acts, name, where=token))
    _, before = run_with_activations(model, others, name)
    np.testing.assert_array_equal(both[name][:, 3], np.repeat(acts[name][:, 3], 2, axis=0))
    np.testing.assert_array_equal(np.delete(both[name], 3, axis=1), np.delete(before[name], 3, axis=1))

    with pytest.raises(ValueError, match="there is no value 'pooled'; the nearest are"):
        patch(acts, "pooled")
