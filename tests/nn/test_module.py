"""Parameters, names, modes, and state: what every component inherits."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable

import numpy as np
import pytest

from levit_ref.nn import BatchNorm, LeViT, Linear, Module, Parameter
from levit_ref.nn.memory import current_pass
from tests.nn.networks import tiny


@pytest.fixture
def model() -> LeViT:
    return tiny()


# --- parameters ---------------------------------------------------------------------------------------------------


def test_assigning_to_a_parameter_copies_into_it() -> None:
    parameter = Parameter(np.zeros((2, 3)))
    array, grad = parameter.data, parameter.grad
    parameter.data = np.ones((2, 3))
    parameter.grad = np.full((2, 3), 2)
    assert parameter.data is array
    assert parameter.grad is grad
    assert (array == 1).all()
    assert (grad == 2).all()
    assert (parameter.shape, parameter.size) == ((2, 3), 6)
    assert repr(parameter) == "Parameter(shape=(2, 3), dtype=float64)"


@pytest.mark.parametrize("what", ["data", "grad"])
def test_a_wrong_shape_is_refused_and_never_broadcast(what: str) -> None:
    parameter = Parameter(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=rf"Parameter.{what}: got shape \(3,\), expected \(2, 3\)"):
        setattr(parameter, what, np.ones(3))


# --- names --------------------------------------------------------------------------------------------------------


def test_names_come_in_the_order_of_assignment(rng: np.random.Generator) -> None:
    class Inner(Module):
        def __init__(self) -> None:
            self.norm = BatchNorm(2)
            self.weight = Parameter(np.zeros(1))

    class Outer(Module):
        def __init__(self) -> None:
            self.layers = [Linear(2, 2, rng, bias=True) for _ in range(12)]
            self.inner = Inner()
            self.nothing = None

    outer = Outer()
    linears = [f"layers.{i}.{leaf}" for i in range(12) for leaf in ("weight", "bias")]
    # a component's own parameters come before those of its children
    assert [n for n, _ in outer.named_parameters()] == [
        *linears,
        "inner.weight",
        "inner.norm.weight",
        "inner.norm.bias",
    ]
    statistics = [f"inner.norm.{leaf}" for leaf in ("running_mean", "running_var", "num_batches_tracked")]
    assert [n for n, _ in outer.named_buffers()] == statistics
    assert list(outer.state_dict()) == [*(n for n, _ in outer.named_parameters()), *statistics]
    assert [n for n, _ in outer.named_modules()] == [
        "", *(f"layers.{i}" for i in range(12)), "inner", "inner.norm",
    ]  # fmt: skip


# --- modes --------------------------------------------------------------------------------------------------------


def modes(model: Module) -> list[bool]:
    return [module.training for _, module in model.named_modules()]


def test_train_and_eval_reach_every_component(model: LeViT) -> None:
    assert all(modes(model))
    assert model.eval() is model
    assert not any(modes(model))
    assert model.train() is model
    assert all(modes(model))
    assert model.train(False) is model
    assert not any(modes(model))


def test_inference_returns_the_modes_before_even_mixed_ones_and_after_an_exception(
    model: LeViT, rng: np.random.Generator
) -> None:
    model.stages[0].eval()
    before = modes(model)
    assert len(set(before)) == 2
    with model.inference():
        assert not any(modes(model))
    assert modes(model) == before
    with pytest.raises(KeyError), model.inference():
        raise KeyError
    assert modes(model) == before
    model.backward_heads(*model.forward_heads(rng.standard_normal((2, 3, 16, 16))))  # and it remembers again


def test_inference_remembers_nothing_and_computes_what_eval_does(model: LeViT, rng: np.random.Generator) -> None:
    images = rng.standard_normal((2, 3, 16, 16))
    with model.inference():
        logits = model(images)
        assert all(current_pass().remembered(module) is None for _, module in model.named_modules())
        with pytest.raises(RuntimeError, match=r"backward needs a forward pass before it, .*outside of inference\(\)"):
            model.backward(logits)
    model.eval()
    np.testing.assert_array_equal(model(images), logits)


def test_backward_before_forward_says_so(model: LeViT) -> None:
    with pytest.raises(RuntimeError, match=r"LeViT\.backward needs a forward pass before it"):
        model.backward(np.zeros((2, 5)))
    with pytest.raises(RuntimeError, match=r"BatchNorm\.backward needs a forward pass before it"):
        model.stages[0].blocks[0].attn.backward(np.zeros((2, 16, 8)))


def test_a_component_without_a_forward_says_so() -> None:
    class Unfinished(Module):
        pass

    with pytest.raises(TypeError, match="Unfinished does not define forward"):
        Unfinished()(np.zeros(1))
    with pytest.raises(TypeError, match="Unfinished does not define backward"):
        Unfinished().backward(np.zeros(1))


def test_zero_grad(model: LeViT, rng: np.random.Generator) -> None:
    for module in (model, model.stages[1]):  # the network does it in one pass, a component one by one
        model.flat_grad[:] = rng.standard_normal(model.flat_grad.shape)
        module.zero_grad()
        assert all((parameter.grad == 0).all() for _, parameter in module.named_parameters())
    assert (model.stem.conv1.linear.weight.grad != 0).all()  # not part of the second


# --- state --------------------------------------------------------------------------------------------------------


def test_a_state_is_a_copy(model: LeViT) -> None:
    state = model.state_dict()
    name = "stages.0.blocks.0.attn.qkv.linear.weight"
    before = model.flat_data.copy()
    state[name][:] = 7
    np.testing.assert_array_equal(model.flat_data, before)
    state = model.state_dict()
    kept = state[name].copy()
    model.flat_data[:] = 0
    np.testing.assert_array_equal(state[name], kept)


def test_a_state_loads_into_another_model_and_makes_it_the_same(model: LeViT, rng: np.random.Generator) -> None:
    other = LeViT(model.config, num_classes=5, image_size=16, seed=9, dtype=np.float64)
    other.load_state_dict(model.state_dict())
    images = rng.standard_normal((2, 3, 16, 16))
    for training in (False, True):
        model.train(training)
        other.train(training)
        np.testing.assert_array_equal(other(images), model(images))


def damaged(model: LeViT) -> dict[str, np.ndarray]:
    state = model.state_dict()
    del state["head.bn.bias"]
    state["head.linear.wieght"] = state.pop("head.linear.weight")
    state["zzz"] = np.zeros(3)
    state["stem.conv1.linear.weight"] = np.zeros((4, 3, 5, 5))
    return state


def test_all_that_does_not_fit_is_listed(model: LeViT) -> None:
    with pytest.raises(ValueError, match="state does not fit LeViT") as error:
        model.load_state_dict(damaged(model))
    assert str(error.value) == (
        "state does not fit LeViT, 5 differences:\n"
        "  missing: head.bn.bias (12,)\n"
        "  missing: head.linear.weight (5, 12)\n"
        "  unknown: head.linear.wieght (5, 12); did you mean head.linear.weight?\n"
        "  unknown: zzz (3,)\n"
        "  shape: stem.conv1.linear.weight is (4, 3, 5, 5), the model's is (4, 3, 3, 3)"
    )


def test_a_long_list_is_cut(model: LeViT) -> None:
    with pytest.raises(ValueError, match="differences") as error:
        model.load_state_dict({})
    count = len(model.state_dict())
    assert str(error.value).endswith(f"\n  and {count - 20} more")
    assert len(str(error.value).splitlines()) == 22


@pytest.mark.parametrize("strict", [True, False])
def test_a_state_that_does_not_fit_changes_nothing(model: LeViT, strict: bool) -> None:
    before = model.state_dict()
    state = {name: array + 1 for name, array in damaged(model).items()}
    with pytest.raises(ValueError, match=r"stem\.conv1\.linear\.weight"):
        model.load_state_dict(state, strict=strict)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_not_strict_takes_what_there_is(model: LeViT) -> None:
    before = model.state_dict()
    model.load_state_dict({"head.linear.bias": np.arange(5), "teacher.weight": np.ones(2)}, strict=False)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, np.arange(5) if name == "head.linear.bias" else before[name])


# --- one buffer ---------------------------------------------------------------------------------------------------


def loaded(model: LeViT) -> LeViT:
    model.load_state_dict(model.state_dict())
    return model


LIVES: dict[str, Callable[[LeViT], LeViT]] = {
    "new": lambda model: model,
    "after load_state_dict": loaded,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("life", LIVES)
def test_flat_arrays_and_parameters_are_the_same_numbers(life: str, model: LeViT) -> None:
    model = LIVES[life](model)
    for flat, part in (model.flat_data, "data"), (model.flat_grad, "grad"):
        flat[:] = np.arange(flat.size)
        start = 0
        for name, parameter in model.named_parameters():
            array = getattr(parameter, part)
            np.testing.assert_array_equal(array.ravel(), np.arange(start, start + array.size), err_msg=name)
            array[...] = -1
            start += array.size
        assert start == flat.size
        assert (flat == -1).all()
    model.flat_buffers[:] = np.arange(model.flat_buffers.size)
    statistics = [buffer for _, buffer in model.named_buffers() if buffer.dtype == model.dtype]
    np.testing.assert_array_equal(np.concatenate(statistics), np.arange(model.flat_buffers.size))


def test_a_forward_pass_keeps_the_statistics_in_the_flat_array(model: LeViT, rng: np.random.Generator) -> None:
    before = model.flat_buffers.copy()
    model(rng.standard_normal((2, 3, 16, 16)))
    assert (model.flat_buffers != before).mean() > 0.9
    statistics = [buffer for _, buffer in model.named_buffers() if buffer.dtype == model.dtype]
    np.testing.assert_array_equal(np.concatenate(statistics), model.flat_buffers)


@pytest.mark.parametrize("life", ["deepcopy", "pickle"])
def test_a_copy_is_equal_and_independent(life: str, model: LeViT, rng: np.random.Generator) -> None:
    images = rng.standard_normal((2, 3, 16, 16))
    model.backward(model(images))
    twin = LIVES[life](model)
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name], err_msg=name)
    np.testing.assert_array_equal(twin.flat_grad, model.flat_grad)
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        twin.backward(np.zeros((2, 5)))  # activations are not copied
    logits = model(images)
    state = model.state_dict()
    twin.flat_data += 1
    twin.flat_buffers += 1
    twin.flat_grad += 1
    twin(images)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    np.testing.assert_array_equal(model(images), logits)


def test_a_copy_draws_the_same_stochastic_depth_and_no_longer_shares_it() -> None:
    model = tiny(drop_path=0.5)
    model.drop_path.seed(np.random.default_rng(1))
    twin = copy.deepcopy(model)
    images = np.random.default_rng(0).standard_normal((6, 3, 16, 16))
    np.testing.assert_array_equal(twin(images), model(images))
    np.testing.assert_array_equal(twin(images), model(images))


def test_flatten_changes_the_dtype(model: LeViT) -> None:
    values = model.flat_data.copy()
    model.flatten(np.float32)
    assert model.dtype == np.float32
    assert {array.dtype for array in model.state_dict().values()} == {np.dtype(np.float32), np.dtype(np.int64)}
    np.testing.assert_array_equal(model.flat_data, values.astype(np.float32))
    with pytest.raises(TypeError, match="LeViT: dtype must be floating, got int64"):
        model.flatten(np.int64)
    assert model.dtype == np.float32
    np.testing.assert_array_equal(model.flat_data, values.astype(np.float32))


def test_messages_name_parameters_as_the_model_does(model: LeViT) -> None:
    assert re.fullmatch(r"Buffer\(shape=\(\), dtype=int64\)", repr(model.head.bn.num_batches_tracked))
