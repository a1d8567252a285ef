"""Finite differences against every backward function, and against every way of getting one slightly wrong."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levit_ref.ops import batch_norm
from tests.gradcheck import check_gradients
from tests.ops.case import OpCase, Sizes, upstream
from tests.ops.composed import batch_norm_backward
from tests.ops.registry import CASES

all_cases = pytest.mark.parametrize("case", CASES, ids=str)


def check(case: OpCase, seed: int = 0, sizes: Sizes | None = None, *, elementwise: bool = False) -> None:
    """Hold the backward function of ``case`` against finite differences of its forward function."""
    example = case.example(seed, sizes=sizes)
    y, saved = case.run(example)
    dy = upstream(y, seed)
    gradients = case.gradients(dy, saved, example)

    def result(**arrays: Any) -> Any:
        return case.forward(**arrays, **example.constants)[0]

    check_gradients(result, example.arrays, gradients, dy, np.random.default_rng([seed, 3]), elementwise=elementwise)


@all_cases
def test_every_entry_of_every_gradient(case: OpCase) -> None:
    check(case, elementwise=True)


@all_cases
@settings(max_examples=15)
@given(data=st.data())
def test_gradients_of_random_sizes(case: OpCase, data: st.DataObject) -> None:
    check(case, data.draw(st.integers(0, 999), label="seed"), data.draw(case.sizes, label="sizes"))


# The checks above are worth what they catch. So every term of every backward function is made wrong by one part in ten
# thousand, one term at a time: each arithmetic expression, each call, each value added or multiplied in place.


def perturbable(function: Callable[..., Any]) -> list[ast.expr]:
    """The expressions of a function whose value may be a term of the result."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    # A comparison selects, and a call whose result is dropped works in place: scaling either's value changes nothing.
    ignored: set[ast.AST] = set()
    terms: list[ast.expr] = []
    for node in ast.walk(definition):
        if isinstance(node, ast.Compare):
            ignored.update(ast.walk(node))
        if isinstance(node, ast.Expr):
            ignored.add(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("empty"):
            ignored.add(node)  # its values are overwritten before they are read
        if isinstance(node, ast.AugAssign):
            terms.append(node.value)
        if isinstance(node, ast.Return) and node.value is not None:
            terms += node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        if isinstance(node, (ast.BinOp, ast.Call)):
            terms.append(node)
    return list(dict.fromkeys(term for term in terms if term not in ignored))


def place(node: ast.expr) -> tuple[Any, ...]:
    """Which expression it is: two parses of the same source have no node in common."""
    return type(node), node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


class Perturb(ast.NodeTransformer):
    """Wrap the expression at one place of the source into a call of ``perturb``."""

    def __init__(self, target: ast.expr) -> None:
        self.place = place(target)

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and self.place == place(node):
            return ast.Call(ast.Name("perturb", ast.Load()), [node], [])
        return self.generic_visit(node)


class Mutant:
    """A function with one expression, where it is a floating value other than zero, off by one part in ten thousand."""

    def __init__(self, function: Callable[..., Any], target: ast.expr) -> None:
        self.changed = False
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        Perturb(target).visit(tree)  # in place
        ast.fix_missing_locations(tree)
        namespace = {**inspect.getmodule(function).__dict__, "perturb": self.perturb}
        exec(compile(tree, f"<mutant of {function.__name__}>", "exec"), namespace)
        self.function = namespace[function.__name__]

    def perturb(self, value: Any) -> Any:
        if isinstance(value, tuple):  # what a function returned
            entries = [self.perturb(entry) for entry in value]
            return value._make(entries) if hasattr(value, "_make") else tuple(entries)
        if not np.issubdtype(np.asarray(value).dtype, np.floating) or not np.any(value):
            return value
        self.changed = True
        return value * (1 + 1e-4)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.function(*args, **options)


def survives(case: OpCase, mutant: Callable[..., Any]) -> bool:
    try:
        check(replace(case, backward=mutant))
    except AssertionError:
        return False
    return True


def slightly_wrong(function: Callable[..., Any], survives: Callable[[Mutant], bool]) -> tuple[int, list[str]]:
    """How many mutants of a function are caught, and the terms whose mutants are not."""
    caught, survivors = 0, []
    for term in perturbable(function):
        mutant = Mutant(function, term)
        if not survives(mutant):
            caught += 1
        elif mutant.changed:
            survivors.append(ast.unparse(term))
    return caught, survivors


@pytest.mark.parametrize(
    "backward",
    dict.fromkeys(case.backward for case in CASES if case.backward is not batch_norm_backward),
    ids=lambda backward: backward.__name__,
)
def test_every_slightly_wrong_term_of_a_backward_function_is_caught(backward: Callable[..., Any]) -> None:
    cases = [case for case in CASES if case.backward is backward]
    caught, survivors = slightly_wrong(backward, lambda mutant: all(survives(case, mutant) for case in cases))
    assert survivors == []
    assert caught > 0


@pytest.mark.parametrize("name", ["batch_norm_backward_sums", "batch_norm_backward", "sums_with", "project_out"])
def test_every_slightly_wrong_term_of_the_parts_of_batch_norm_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backward pass is two operations, which leave the passes over memory to a private file."""
    cases = [case for case in CASES if case.backward is batch_norm_backward]

    def survive(mutant: Mutant) -> bool:
        monkeypatch.setattr(batch_norm, name, mutant)
        return all(survives(case, case.backward) for case in cases)

    caught, survivors = slightly_wrong(getattr(batch_norm, name), survive)
    assert survivors == []
    assert caught > 0


def test_the_unchanged_source_of_every_backward_function_passes() -> None:
    """The mutants die of their mutation, not of being compiled anew."""
    nowhere = ast.parse("\n" * 10_000 + "x", mode="eval").body
    for case in CASES:
        check(replace(case, backward=Mutant(case.backward, nowhere)))
