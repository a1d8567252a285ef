"""Recording: what was asked for, exactly, and nothing else changes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import levit_ref
from levit_ref import ops, run_with_activations
from levit_ref.nn import FunctionTap, LeViT, no_tap
from levit_ref.ops import Array
from levit_ref.runtime.backends import BACKENDS
from levit_ref.runtime.native.kernel import Kernel
from tests.nn.names import expected_names
from tests.nn.networks import randomise, tiny

NAMES = expected_names(stem_convs=2, depths=(1, 2), two_heads=True)


def test_everything_is_recorded_in_order_with_the_values_of_the_pass(model: LeViT, images: Array) -> None:
    seen: dict[str, Array] = {}
    logits = model(images, FunctionTap(lambda name, value: seen.__setitem__(name, value.copy())))
    recorded_logits, acts = run_with_activations(model, images, "*")
    np.testing.assert_array_equal(recorded_logits, logits)
    assert list(acts) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(acts[name], seen[name])


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("logits", ["logits"]),
        (["pooled", "images"], ["images", "pooled"]),
        ("stages.*.attn.probs", [n for n in NAMES if n.endswith(".attn.probs")]),
        (["*.probs", "stages.0.blocks.0.attn.*"], [n for n in NAMES if n.endswith("probs") or "0.blocks.0.attn." in n]),
        ("stages.1.blocks.?.resid_post", ["stages.1.blocks.0.resid_post", "stages.1.blocks.1.resid_post"]),
        (iter(["*.mlp"]), [n for n in NAMES if n.endswith(".mlp")]),
        ([], []),
    ],
)
def test_names_and_patterns(patterns: list[str] | str, expected: list[str], model: LeViT, images: Array) -> None:
    _, acts = run_with_activations(model, images, patterns)
    assert expected == list(acts)
    assert len(acts) == len(expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["stages.0.blocks.0.attn.prob"],
            "there is no value 'stages.0.blocks.0.attn.prob'.*stages.0.blocks.0.attn.probs",
        ),
        (
            ["logits", "stages.*.atn.probs"],
            r"nothing matches the pattern 'stages.\*.atn.probs'.*stages.\*.blocks.\*.attn.probs",
        ),
        (["Logits"], "there is no value 'Logits'.*logits"),
        ([""], "there is no value ''"),
    ],
)
def test_unknown_names_and_empty_patterns_raise_with_the_nearest(
    names: list[str], message: str, model: LeViT, images: Array
) -> None:
    with pytest.raises(ValueError, match=message):
        run_with_activations(model, images, names)
    with pytest.raises(ValueError, match=message):
        run_with_activations(model, images, [], edits=dict.fromkeys(names, np.zeros_like))


def test_names_must_be_text(model: LeViT, images: Array) -> None:
    with pytest.raises(TypeError, match="expected a name or a pattern, got 3"):
        run_with_activations(model, images, [3])  # type: ignore[list-item]


def test_activations_are_an_ordered_read_only_mapping_of_copies(model: LeViT, images: Array) -> None:
    _, acts = run_with_activations(model, images, ["images", "*.probs"])
    probs = acts["stages.0.blocks.0.attn.probs"]
    with pytest.raises(ValueError, match="read-only"):
        probs[0] = 0
    assert not np.shares_memory(acts["images"], images)
    assert "pooled" not in acts
    with pytest.raises(KeyError, match=r"stages.0.blocks.0.attn.prob was not recorded; did you mean stages.0.blocks.0"):
        acts["stages.0.blocks.0.attn.prob"]
    with pytest.raises(TypeError):
        acts["images"] = images  # type: ignore[index]
    assert acts.nbytes == sum(value.nbytes for value in acts.values())
    assert "stages.0.blocks.0.attn.probs: B heads N_q N_k (3, 2, 16, 16)" in repr(acts)


def test_maps(images: Array) -> None:
    model = tiny((16, 24), dtype=np.float32)
    model.eval()
    images = np.concatenate([images, images[..., :8]], axis=3)
    _, acts = run_with_activations(model, images, "*")
    tokens = acts["stages.0.blocks.0.resid_post"]  # (B, N, C): 4x6 tokens
    np.testing.assert_array_equal(acts.as_grid("stages.0.blocks.0.resid_post")[:, 2, 5], tokens[:, 2 * 6 + 5])
    np.testing.assert_array_equal(acts.as_grid("images"), images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(acts.as_grid("stem.tokens"), acts.as_grid("stem.conv2.bn"))
    probs = acts["stages.1.downsample.attn_downsample.probs"]  # 2x3 queries, 4x6 keys
    grid = acts.as_grid("stages.1.downsample.attn_downsample.probs")
    assert grid.shape == (3, 2, 2, 3, 4, 6)
    np.testing.assert_array_equal(grid[:, :, 1, 2, 3, 4], probs[:, :, 1 * 3 + 2, 3 * 6 + 4])
    assert not grid.flags.writeable
    with pytest.raises(ValueError, match=r"pooled has axes \(B, C\): it is not spread over a map"):
        acts.as_grid("pooled")


@pytest.mark.parametrize(
    "stop", ["images", "stem.act1", "stages.0.blocks.0.attn.probs", "stages.0.blocks.0.mlp", "head"]
)
def test_stop_after_saves_the_rest_of_the_work(
    stop: str, model: LeViT, images: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, everything = run_with_activations(model, images, "*")
    reached = NAMES[: NAMES.index(stop) + 1]
    ran = []
    for name, module in model.named_modules():
        monkeypatch.setattr(module, "forward", _noting(name, ran, module.forward))
    logits, acts = run_with_activations(model, images, "*", stop_after=stop)
    assert logits is None
    assert list(acts) == reached
    for name in reached:
        np.testing.assert_array_equal(acts[name], everything[name])
    inside = [name for name in ran if name.startswith(("stages", "head"))]
    assert all(any(seen == name or seen.startswith(f"{name}.") for seen in [*reached, stop]) for name in inside)
    assert list(run_with_activations(model, images, [], stop_after=stop)[1]) == []


def _noting(name: str, ran: list[str], forward: Callable[..., Array]) -> Callable[..., Array]:
    def run(*args: object, **options: object) -> Array:
        ran.append(name)
        return forward(*args, **options)

    return run


def test_names_after_the_stop_are_refused(model: LeViT, images: Array) -> None:
    with pytest.raises(ValueError, match=r"names: pooled comes after stem.tokens, where the pass is to stop"):
        run_with_activations(model, images, ["stem.*", "pooled"], stop_after="stem.tokens")
    with pytest.raises(ValueError, match=r"edits: pooled comes after stem.tokens, where the pass is to stop"):
        run_with_activations(model, images, [], stop_after="stem.tokens", edits={"pooled": np.zeros_like})
    with pytest.raises(ValueError, match=r"stop_after: there is no value 'stem.token'; the nearest are stem.tokens"):
        run_with_activations(model, images, [], stop_after="stem.token")


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("names", [[], ["stages.*.attn.q"], ["*.resid_post", "stem.*"], "*"], ids=str)
def test_recording_changes_no_bit(names: list[str], training: bool, backend: str, images: Array) -> None:
    plain, watched = tiny(dtype=np.float32, drop_path=0.3), tiny(dtype=np.float32, drop_path=0.3)
    for model in (plain, watched):
        model.train(training)
        model.drop_path.seed(np.random.default_rng(5))
    for _ in range(2):  # the second pass shows that statistics and random numbers went on alike
        logits, _ = run_with_activations(watched, images, names)
        np.testing.assert_array_equal(logits, plain(images))
    for (name, buffer), (_, other) in zip(watched.named_buffers(), plain.named_buffers(), strict=True):
        np.testing.assert_array_equal(buffer, other, err_msg=name)
    assert watched.training == training


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("variant", "size"), [("levit_128s", 112), ("levit_1m_32px", 32)])
def test_recording_changes_no_bit_of_real_networks(
    variant: str, size: int, training: bool, backend: str, rng: np.random.Generator
) -> None:
    model = levit_ref.create_model(variant, num_classes=10, image_size=size)
    randomise(model, rng)
    model.train(training)
    images = rng.standard_normal((4, 3, size, size)).astype(np.float32)
    state = model.state_dict()
    logits, acts = run_with_activations(model, images, "*")
    assert len(acts.notes) == (2 if backend == "native" else 0)
    model.load_state_dict(state)
    np.testing.assert_array_equal(model(images), logits)


def test_a_pending_backward_is_not_disturbed(images: Array, rng: np.random.Generator) -> None:
    model, untouched = tiny(dtype=np.float32), tiny(dtype=np.float32)
    dlogits = rng.standard_normal((3, 5)).astype(np.float32)
    for each in (model, untouched):
        each(images)
    run_with_activations(model, images[::-1].copy(), "pooled")
    np.testing.assert_array_equal(model.backward(dlogits), untouched.backward(dlogits))
    np.testing.assert_array_equal(model.flat_grad, untouched.flat_grad)


class OddError(Exception):
    pass


def _fail(value: Array) -> Array:
    raise OddError


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("how", ["exception", "stop"])
def test_a_pass_that_ends_early_leaves_no_trace(training: bool, how: str, images: Array) -> None:
    model, untouched = tiny(dtype=np.float32, drop_path=0.3), tiny(dtype=np.float32, drop_path=0.3)
    for each in (model, untouched):
        each.train(training)
        each.drop_path.seed(np.random.default_rng(5))
    if how == "stop":
        run_with_activations(model, images, "stem.*", stop_after="head.bn")
    else:
        with pytest.raises(OddError):
            run_with_activations(model, images, "*", edits={"head.bn": _fail})
    assert model.training == training
    for (name, array), (_, other) in zip(model.state_dict().items(), untouched.state_dict().items(), strict=True):
        np.testing.assert_array_equal(array, other, err_msg=name)
    with pytest.raises(RuntimeError, match="nothing is remembered"):
        model.backward(np.zeros((3, 5), np.float32))
    np.testing.assert_array_equal(model(images), untouched(images))


def test_bad_images_are_refused_as_the_model_refuses_them(model: LeViT) -> None:
    with pytest.raises(ValueError, match="images have shape"):
        run_with_activations(model, np.zeros((1, 3, 8, 8), np.float32), "*")
    with pytest.raises(TypeError, match="got list"):
        run_with_activations(model, [[1.0]], "*")  # type: ignore[arg-type]


def test_components_nobody_looks_into_get_no_tap(model: LeViT, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes recording nothing cost nothing, and lets a backend fuse the rest."""
    untapped: dict[str, bool] = {}
    for name, module in model.named_modules():
        forward = module.forward
        monkeypatch.setattr(module, "forward", _noting_tap(name, untapped, forward))
    run_with_activations(model, images, [])
    assert all(untapped.values())
    run_with_activations(model, images, ["stages.1.blocks.0.attn.probs", "stages.1.blocks.1.mlp", "pooled"])
    tapped = {name for name, without in untapped.items() if not without}
    assert tapped == {"", "stages.1", "stages.1.blocks.0", "stages.1.blocks.0.attn", "stages.1.blocks.1"}


def _noting_tap(name: str, untapped: dict[str, bool], forward: Callable[..., Array]) -> Callable[..., Array]:
    def run(x: Array, tap: object = no_tap) -> Array:
        untapped[name] = tap is no_tap
        return forward(x, tap)

    return run


def test_notes_say_what_was_not_fused(model: LeViT, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = {
        operation.__name__: Kernel(operation, np.dtype(np.float32))
        for operation in (ops.attention_forward, ops.batch_norm_forward)
    }  # a backend with kernels of its own for these two
    monkeypatch.setitem(BACKENDS, "fusing", kernels)
    with levit_ref.use_backend("fusing"):
        assert run_with_activations(model, images, ["pooled", "*.mlp", "*.ln2.bn"])[1].notes == ()
        _, acts = run_with_activations(model, images, ["stages.*.attn.probs", "stem.conv1.bn"])
        assert acts.notes == (
            "fusing backend: attention ran step by step, not fused, in "
            "stages.0.blocks.0.attn, stages.1.blocks.0.attn, stages.1.blocks.1.attn",
            "fusing backend: normalisation with activation ran step by step, not fused, in stem.conv1",
        )
        assert "note: fusing backend" in repr(acts)
        edited = run_with_activations(model, images, [], edits={"stages.0.blocks.0.attn.bias": np.zeros_like})
        assert len(edited[1].notes) == 1
    with levit_ref.use_backend("numpy"):
        assert run_with_activations(model, images, "*")[1].notes == ()


@pytest.mark.parametrize("batch", [1, 4])
def test_recording_everything_needs_the_announced_memory(batch: int, rng: np.random.Generator) -> None:
    """The whole pass, values that are computed and dropped included: at most 10 % more than the catalogue announces."""
    model = levit_ref.create_model("levit_128s", num_classes=10, image_size=96)
    model.eval()
    images = rng.standard_normal((batch, 3, 96, 96)).astype(np.float32)
    announced = sum(spec.nbytes for spec in model.activation_specs(batch))
    with levit_ref.use_backend("numpy"):
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            _, acts = run_with_activations(model, images, "*")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert acts.nbytes == announced
    assert peak - before < 1.1 * announced
