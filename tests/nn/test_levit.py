"""The whole network: heads, image sizes, wrong images, stochastic depth, gradients at sizes the oracle cannot do."""

from __future__ import annotations

import numpy as np
import pytest

import levit_ref
from levit_ref.nn import BatchNorm, LeViT, lean_backward
from levit_ref.ops import Array
from tests.gradcheck import check_gradients
from tests.nn.networks import TINY, tiny


@pytest.fixture
def images(rng: np.random.Generator) -> Array:
    return rng.standard_normal((3, 3, 16, 16))


# --- heads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_logits_are_the_mean_of_the_heads(training: bool, images: Array) -> None:
    model = tiny()
    model.train(training)
    head, head_dist = model.forward_heads(images)
    assert head_dist is not None
    assert np.abs(head - head_dist).max() > 0.1
    np.testing.assert_allclose(model(images), (head + head_dist) / 2, rtol=1e-13)


def test_one_head(images: Array, rng: np.random.Generator) -> None:
    model = tiny(distillation=False)
    logits = model.forward_heads(images)
    assert logits.head_dist is None
    np.testing.assert_array_equal(model(images), logits.head)
    dlogits = rng.standard_normal((3, 5))
    np.testing.assert_array_equal(model.backward(dlogits), model.backward_heads(dlogits, None))


def test_backward_is_half_to_each_head(images: Array, rng: np.random.Generator) -> None:
    model = tiny()
    dlogits = rng.standard_normal((3, 5))
    model(images)
    dimages = model.backward(dlogits)
    gradient = model.flat_grad.copy()
    model.zero_grad()
    np.testing.assert_array_equal(model.backward_heads(dlogits / 2, dlogits / 2), dimages)
    np.testing.assert_array_equal(model.flat_grad, gradient)


def test_a_lean_backward_pass_has_all_gradients_but_the_images(images: Array, rng: np.random.Generator) -> None:
    model = tiny()
    heads = model.forward_heads(images)
    model.backward_heads(*heads)
    full = model.flat_grad.copy()
    model.zero_grad()
    with lean_backward():
        assert model.backward_heads(*heads) is None
    np.testing.assert_array_equal(model.flat_grad, full)


def test_gradients_for_the_wrong_heads_are_refused(images: Array) -> None:
    two, one = tiny(), tiny(distillation=False)
    two(images)
    one(images)
    good = np.zeros((3, 5))
    with pytest.raises(ValueError, match="dhead_dist is None, but the model has that head"):
        two.backward_heads(good, None)
    with pytest.raises(ValueError, match="dhead_dist is an array, but the model does not have that head"):
        one.backward_heads(good, good)
    with pytest.raises(ValueError, match=r"dhead has shape \(2, 5\), expected \(3, 5\)"):
        one.backward(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"dhead_dist has shape \(3, 4\), expected \(3, 5\)"):
        two.backward_heads(good, np.zeros((3, 4)))
    assert (two.flat_grad == 0).all()


# --- image sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((33, 47), [(9, 12), (5, 6)]),
        ((17, 16), [(5, 4), (3, 2)]),
        ((9, 31), [(3, 8), (2, 4)]),
        ((1, 1), [(1, 1), (1, 1)]),
        ((1, 40), [(1, 10), (1, 5)]),
    ],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_gradients_at_odd_and_oblong_sizes(
    size: tuple[int, int], tokens: list[tuple[int, int]], training: bool, rng: np.random.Generator
) -> None:
    model = tiny(size)
    assert [stage.grid.shape for stage in model.stages] == tokens
    model.train(training)
    start = model.flat_data.copy()
    point = {"parameters": start, "images": rng.standard_normal((4, 3, *size))}

    def function(parameters: Array, images: Array) -> Array:
        model.flat_data[:] = parameters
        return model(images)

    dlogits = rng.standard_normal(function(**point).shape)
    dimages = model.backward(dlogits)
    gradients = {"images": dimages, "parameters": model.flat_grad.copy()}
    check_gradients(function, point, gradients, dlogits, rng, tolerance=1e-6)


@pytest.mark.parametrize("size", [(224, 160), (33, 47), (200, 312)])
def test_the_papers_network_at_other_sizes(size: tuple[int, int], rng: np.random.Generator) -> None:
    model = levit_ref.create_model("levit_128s", num_classes=3, image_size=size)
    H, W = size
    for _ in range(4):
        H, W = -(-H // 2), -(-W // 2)
    assert model.stem.grid.shape == (H, W)
    images = rng.standard_normal((2, 3, *size), dtype=np.float32)
    assert model(images).shape == (2, 3)
    dimages = model.backward(np.ones((2, 3), np.float32))
    assert dimages.shape == images.shape
    assert np.isfinite(dimages).all()


def test_rows_and_columns_are_not_mixed_up(rng: np.random.Generator) -> None:
    """Turning the picture and every table and kernel on its side leaves the logits as they are."""
    upright, turned = tiny((12, 20)), tiny((20, 12))
    state = upright.state_dict()
    for name, array in state.items():
        if array.ndim == 4:
            state[name] = array.swapaxes(2, 3)
        elif name.endswith("attention_biases"):
            H, W = (3, 5) if array.shape[1] == 15 else (2, 3)
            state[name] = array.reshape(-1, H, W).swapaxes(1, 2).reshape(-1, W * H)
    turned.load_state_dict(state)
    images = rng.standard_normal((2, 3, 12, 20))
    np.testing.assert_allclose(turned(images.swapaxes(2, 3)), upright(images), rtol=1e-9, atol=1e-12)


def test_images_too_small_for_the_stem() -> None:
    # a patch of 16 pixels does not fit at all, while padded 3x3 convolutions find something in any picture
    with pytest.raises(ValueError, match="images of 15x40 are too small: convolution 1 leaves nothing"):
        levit_ref.create_model("levit_128s_a2_no_conv_stem", image_size=(15, 40))


@pytest.mark.parametrize("size", [0, (32, -1), (32, 32, 3), 22.5, "224"])
def test_impossible_image_sizes(size: object) -> None:
    with pytest.raises(ValueError, match="LeViT: image_size must be an integer >= 1 or a pair of them, got"):
        LeViT(TINY, image_size=size)


def test_impossible_numbers_of_classes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        LeViT(TINY, num_classes=0)


# --- wrong images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 3, 16, 16), np.uint8), TypeError, "must be a floating numpy array, normalised .*; got uint8"),
        ([[1.0]], TypeError, "must be a floating numpy array, .*; got list"),
        (None, TypeError, "got NoneType"),
        (np.zeros((2, 16, 16, 3)), ValueError, r"images have shape \(2, 16, 16, 3\), expected \(B, 3, 16, 16\)"),
        (np.zeros((2, 1, 16, 16)), ValueError, r"shape \(2, 1, 16, 16\), expected \(B, 3, 16, 16\)"),
        (np.zeros((2, 3, 16, 12)), ValueError, r"shape \(2, 3, 16, 12\), expected \(B, 3, 16, 16\)"),
        (np.zeros((3, 16, 16)), ValueError, r"shape \(3, 16, 16\), expected \(B, 3, 16, 16\)"),
        (np.zeros((0, 3, 16, 16)), ValueError, r"the batch is empty, images have shape \(0, 3, 16, 16\)"),
    ],
    ids=["uint8", "list", "None", "channels last", "grey", "size", "one image", "empty"],
)
def test_wrong_images_are_refused_before_anything_moves(images: Array, error: type[Exception], message: str) -> None:
    model = tiny()
    before = model.state_dict()
    with pytest.raises(error, match=f"LeViT: .*{message}" if not message.startswith("LeViT") else message):
        model(images)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_images_of_any_float_are_converted_to_the_models(dtype: type, images: Array) -> None:
    model = tiny(dtype=np.float32)
    logits = model(images.astype(dtype))
    assert logits.dtype == np.float32
    assert model.backward(logits).dtype == np.float32
    np.testing.assert_array_equal(logits, tiny(dtype=np.float32)(images.astype(dtype).astype(np.float32)))


def test_strided_images(images: Array) -> None:
    model = tiny()
    model.eval()
    wide = np.repeat(images, 2, axis=3)[:, :, :, ::2]
    assert not wide.flags.c_contiguous
    np.testing.assert_array_equal(model(wide), model(images))


# --- stochastic depth ---------------------------------------------------------------------------------------------


def test_stochastic_depth_is_reproduced_by_its_seed_and_absent_in_eval(images: Array) -> None:
    model, without = tiny(drop_path=0.5), tiny()
    model.drop_path.seed(np.random.default_rng(1))
    first, second = model(images), model(images)
    model.drop_path.seed(np.random.default_rng(1))
    np.testing.assert_array_equal(model(images), first)
    assert np.abs(second - first).max() > 0.01
    model.load_state_dict(without.state_dict())
    model.eval()
    without.eval()
    np.testing.assert_array_equal(model(images), without(images))


def test_gradients_with_stochastic_depth(images: Array, rng: np.random.Generator) -> None:
    model = tiny(drop_path=0.5)
    start = model.flat_data.copy()

    def function(parameters: Array, images: Array) -> Array:
        model.drop_path.seed(np.random.default_rng(11))
        model.flat_data[:] = parameters
        return model(images)

    point = {"parameters": start, "images": images}
    dlogits = rng.standard_normal(function(**point).shape)
    gradients = {"images": model.backward(dlogits), "parameters": model.flat_grad.copy()}
    check_gradients(function, point, gradients, dlogits, rng, tolerance=1e-6)


def test_stochastic_depth_belongs_to_the_picture(images: Array) -> None:
    """A batch cut in two has the factors of the whole batch, whatever its parts are."""
    model = tiny(drop_path=0.5).eval()
    for module in [block for stage in model.stages for block in stage.blocks]:
        module.train()
    for norm in [module for _, module in model.named_modules() if isinstance(module, BatchNorm)]:
        norm.eval()  # whose statistics are of the batch
    model.drop_path.seed(np.random.default_rng(4))
    whole = model(images)
    for cut in 1, 2:
        parts = []
        for part in slice(0, cut), slice(cut, 3):
            model.drop_path.seed(np.random.default_rng(4), batch_size=3, part=part)
            parts.append(model(images[part]))
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)
    with pytest.raises(ValueError, match="stochastic depth was seeded for 2 images of a batch, got 3"):
        model.drop_path.seed(np.random.default_rng(4), batch_size=3, part=slice(0, 2))
        model(images)
