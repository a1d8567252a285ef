"""What forward passes leave for backward passes: kept, computed again instead, given back; and by which thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import levit_ref
from levit_ref import functional as F
from levit_ref.nn import FunctionTap, LeViT, Tap, lean_backward, no_tap, separate_pass
from levit_ref.nn.memory import GIVEN_BACK, current_pass
from levit_ref.runtime import native
from tests.nn.networks import tiny

BACKENDS = levit_ref.available_backends()


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with levit_ref.use_backend(request.param):
        yield request.param


@pytest.fixture
def model() -> LeViT:
    return tiny(drop_path=0.3, dtype=np.float32)


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((4, 3, 16, 16)).astype(np.float32)


def gradients(model: LeViT, images: np.ndarray, *, lean: bool = False, tap: Tap = no_tap) -> list[np.ndarray | None]:
    """Logits, gradients of all parameters, gradient of the images."""
    model.zero_grad()
    model.drop_path.seed(np.random.default_rng(5))
    logits = model.forward(images, tap)
    dlogits = np.cos(np.arange(logits.size, dtype=logits.dtype)).reshape(logits.shape)
    if lean:
        with lean_backward():
            dx = model.backward(dlogits, tap)
    else:
        dx = model.backward(dlogits, tap)
    return [logits, model.flat_grad.copy(), dx]


def assert_same_bits(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def saved_bytes(model: LeViT) -> int:
    """Of all arrays that are kept for the backward pass, each memory once; parameters are not counted."""
    owners: dict[int, int] = {}

    def look(value: object) -> None:
        if isinstance(value, tuple):
            for part in value:
                look(part)
        elif isinstance(value, np.ndarray) and not np.shares_memory(value, model.flat_data):
            whole = value
            while isinstance(whole.base, np.ndarray):
                whole = whole.base
            owners[whole.ctypes.data] = whole.nbytes

    for _, module in model.named_modules():
        look(current_pass().remembered(module))
    return sum(owners.values())


# --- given back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tapped", [True, False])
def test_gradients_are_the_same_bits(model: LeViT, images: np.ndarray, training: bool, tapped: bool) -> None:
    model.train(training)
    tap = FunctionTap(lambda name, value: None) if tapped else no_tap
    expected = gradients(model, images, tap=tap)
    assert np.abs(expected[1]).max() > 0
    *lean, dx = gradients(model, images, lean=True, tap=tap)
    assert_same_bits(lean, expected[:2])
    assert dx is None  # the gradient of the images is left out


def test_every_component_gives_back(model: LeViT, images: np.ndarray) -> None:
    with_backward = [module for _, module in model.named_modules()]
    gradients(model, images)
    kept = [module for module in with_backward if current_pass().remembered(module) is not None]
    assert len(kept) > 30 and saved_bytes(model) > 50_000
    gradients(model, images, lean=True)
    assert all(current_pass().remembered(module) is GIVEN_BACK for module in kept)


def test_it_gives_back_as_it_goes_and_not_at_the_end(model: LeViT, images: np.ndarray) -> None:
    logits = model.forward(images)
    assert model.head_dist is not None
    left = [saved_bytes(model)]
    with lean_backward():
        dx = model.head.backward(np.ones_like(logits)) + model.head_dist.backward(np.ones_like(logits))
        dx = np.repeat(dx[:, None] / 4, 4, axis=1)  # of the mean over 2 x 2 tokens
        for stage in reversed(model.stages):
            for block in reversed(stage.blocks):
                dx = block.backward(dx)
                left.append(saved_bytes(model))
            dx = dx if stage.downsample is None else stage.downsample.backward(dx)
            left.append(saved_bytes(model))
        assert model.stem.backward(dx) is None
    left.append(saved_bytes(model))
    assert left == sorted(left, reverse=True) and len(set(left)) >= 5
    assert left[-1] == 0 < left[-2]


def test_a_second_backward_pass_says_what_is_missing(model: LeViT, images: np.ndarray) -> None:
    logits = gradients(model, images, lean=True)[0]
    for lean in (False, True):
        with pytest.raises(
            RuntimeError, match=r"LeViT\.backward needs another forward pass.*lean backward.* gave back"
        ):
            if lean:
                with lean_backward():
                    model.backward(logits)
            else:
                model.backward(logits)
    with pytest.raises(RuntimeError, match=r"BatchNorm\.backward needs another forward pass"):
        model.stages[0].blocks[0].mlp.backward(np.zeros((4, 16, 8), np.float32))
    gradients(model, images, lean=True)  # after another forward pass it goes on


def test_it_ends_with_the_block_also_after_an_exception(model: LeViT, images: np.ndarray) -> None:
    with pytest.raises(KeyError), lean_backward():
        raise KeyError
    with lean_backward(), lean_backward():
        pass
    logits = model.forward(images)
    first = model.backward(logits)
    np.testing.assert_array_equal(model.backward(logits), first)  # backward reads and does not consume, as ever


def test_a_separate_pass_gives_nothing_back_and_leaves_what_was_there(model: LeViT, images: np.ndarray) -> None:
    expected = gradients(model, images)
    model.drop_path.seed(np.random.default_rng(5))
    logits = model.forward(images)
    dlogits = np.cos(np.arange(20, dtype=np.float32)).reshape(4, 5)
    with lean_backward():
        with separate_pass():
            model.forward(images[:2])
            first = model.backward(dlogits[:2])
            np.testing.assert_array_equal(model.backward(dlogits[:2]), first)
        model.zero_grad()
        model.backward(dlogits)
    assert_same_bits([logits, model.flat_grad], expected[:2])


def test_a_separate_pass_may_keep_nothing(model: LeViT, images: np.ndarray) -> None:
    with separate_pass(keeps=False):
        logits = model.forward(images)
        assert saved_bytes(model) == 0
        with pytest.raises(RuntimeError, match=r"LeViT\.backward needs a forward pass before it"):
            model.backward(logits)


def test_inference_leaves_what_was_remembered(model: LeViT, images: np.ndarray) -> None:
    expected = gradients(model, images)
    model.drop_path.seed(np.random.default_rng(5))
    model.zero_grad()
    logits = model.forward(images)
    with model.inference():
        model.forward(images[:2])
    dx = model.backward(np.cos(np.arange(20, dtype=np.float32)).reshape(4, 5))
    assert_same_bits([logits, model.flat_grad, dx], expected)


@pytest.mark.parametrize("backend", ["native"], indirect=True)  # which counts its memory
def test_the_peak_of_a_training_step_is_what_the_forward_pass_saved(backend: str) -> None:
    model = levit_ref.create_model("levit_128s_32px", num_classes=10)
    images = np.random.default_rng(0).standard_normal((32, 3, 32, 32), np.float32)

    def peak_over_saved(lean: bool) -> float:
        gc.collect()
        logits = model.forward(images)
        in_use = native.extension.buffer_bytes()[0]
        native.extension.release_buffers()  # from here on the most in use is counted anew
        if lean:
            with lean_backward():
                model.backward(logits)
            assert native.extension.buffer_bytes()[0] < 0.02 * in_use  # the logits
        else:
            model.backward(logits)
        most: int = native.extension.buffer_bytes()[2]
        return most / in_use

    assert peak_over_saved(False) > 1.15
    assert peak_over_saved(True) < 1.06


# --- computing again ----------------------------------------------------------------------------------------------


def test_computing_again_gives_the_same_bits_and_keeps_less(
    model: LeViT, images: np.ndarray, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, sizes = {}, {}
    for again in (False, True):
        monkeypatch.setattr(F, "has_kernel", lambda name, dtype, again=again: again)
        results[again] = gradients(model, images)
        sizes[again] = saved_bytes(model)
    assert_same_bits(results[True], results[False])
    # NumPy keeps patches, probabilities and what activations were applied to besides
    assert sizes[True] < (0.72 if backend == "native" else 0.9) * sizes[False]


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("activation", ["hardswish", "identity"])
def test_computing_again_with_every_norm_and_without_attention_activation(
    norm: str, activation: str, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(norm=norm, attention_activation=activation, dtype=np.float32)
    results = []
    for again in (False, True):
        monkeypatch.setattr(F, "has_kernel", lambda name, dtype, again=again: again)
        results.append(gradients(model, images))
    assert_same_bits(*results)


def test_nothing_is_known_of_arrays_that_are_gone(
    model: LeViT, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their memory, or their id, may be another array's soon after."""
    monkeypatch.setattr(F, "has_kernel", lambda name, dtype: True)
    with separate_pass() as current:
        logits = model.forward(images)
        del logits
        assert not current._repeatable


@pytest.mark.parametrize("name", ["stages.0.blocks.0.mlp.act", "stages.0.blocks.0.mlp.ln1.bn"])
def test_a_value_that_a_tap_replaced_is_not_computed_again(model: LeViT, images: np.ndarray, name: str) -> None:
    """After a hidden layer of zeros the second weight has no gradient; of what was there before it would have one."""
    weight = dict(model.named_parameters())["stages.0.blocks.0.mlp.ln2.linear.weight"]
    gradients(model, images)
    assert np.abs(weight.grad).max() > 0
    model.zero_grad()
    logits = model.forward(images, FunctionTap(lambda n, value: np.zeros_like(value) if n == name else None))
    model.backward(np.ones_like(logits))
    assert (weight.grad == 0).all()


@pytest.mark.parametrize(
    ("replaced", "without", "with_gradient"),
    [("q", "k", "q"), ("k", "q", "k"), ("v", "probs", "v"), ("qkv.bn", "q", "v")],
)
def test_queries_keys_and_values_that_a_tap_replaced_are_not_computed_again(
    model: LeViT, images: np.ndarray, replaced: str, without: str, with_gradient: str
) -> None:
    """Where queries are zeros no key has a gradient, and so on."""
    attention = "stages.0.blocks.0.attn."
    name = attention + replaced
    logits = model.forward(images, FunctionTap(lambda n, value: np.zeros_like(value) if n == name else None))
    seen: dict[str, float] = {}
    model.backward(np.ones_like(logits), FunctionTap(lambda n, value: seen.update({n: float(np.abs(value).max())})))
    assert seen[attention + without] == 0
    assert seen[attention + with_gradient] > 0


# --- threads ------------------------------------------------------------------------------------------------------


def run_in_threads(*functions: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result()


def test_overlapping_inference_in_one_thread(model: LeViT, images: np.ndarray) -> None:
    model.eval()
    expected = model.forward(images)
    model.train()
    statistics = model.flat_buffers.copy()
    first, second = model.inference(), model.inference()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    np.testing.assert_array_equal(model.forward(images), expected)  # the second is still open
    second.__exit__(None, None, None)
    np.testing.assert_array_equal(model.flat_buffers, statistics)
    assert model.training
    model.backward(model.forward(images))  # training goes on


def test_threads_that_infer_with_one_model_get_right_answers(model: LeViT, images: np.ndarray) -> None:
    """Batches differ in size and content; modes overlap at every step of the way."""
    batches = [images[: 1 + i % 4] + i for i in range(4)]
    model.eval()
    expected = [model.forward(batch) for batch in batches]
    model.train()
    statistics = model.flat_buffers.copy()

    def serve(i: int) -> None:
        for _ in range(10):
            with model.inference():
                np.testing.assert_array_equal(model.forward(batches[i]), expected[i])

    run_in_threads(*[partial(serve, i) for i in range(4)])
    np.testing.assert_array_equal(model.flat_buffers, statistics)
    assert model.training


def test_a_thread_started_inside_of_inference_infers_too(model: LeViT, images: np.ndarray) -> None:
    with model.inference():
        expected = model.forward(images)
        run_in_threads(lambda: np.testing.assert_array_equal(model.forward(images), expected))


def test_each_thread_has_a_pass_of_its_own(model: LeViT, images: np.ndarray) -> None:
    """Forward A, forward B, backward A: what B remembers does not disturb A."""
    model.eval()
    expected = gradients(model, images)[2]
    both_forward = threading.Barrier(2)
    found = {}

    def run(name: str, batch: np.ndarray) -> None:
        logits = model.forward(batch)
        both_forward.wait(20)
        found[name] = model.backward(np.cos(np.arange(logits.size, dtype=logits.dtype)).reshape(logits.shape))

    run_in_threads(partial(run, "a", images), partial(run, "b", images[:2] * 3))
    np.testing.assert_array_equal(found["a"], expected)
    with pytest.raises(RuntimeError, match="in the same thread"):
        run_in_threads(lambda: model.backward(np.zeros((4, 5), np.float32)))
