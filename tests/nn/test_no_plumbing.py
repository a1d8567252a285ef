"""A component is ``__init__``, ``forward(x, tap)`` and ``backward(dy, tap)``; no signature carries anything else."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import levit_ref.nn
from levit_ref.nn import Module

FOLDER = Path(levit_ref.nn.__file__).parent


def all_modules(of: type[Module] = Module) -> Iterator[type[Module]]:
    for kind in of.__subclasses__():
        if kind.__module__.startswith("levit_ref."):
            yield kind
        yield from all_modules(kind)


@pytest.mark.parametrize("kind", sorted({Module, *all_modules()}, key=lambda kind: kind.__name__))
@pytest.mark.parametrize(("method", "argument"), [("forward", "x"), ("backward", "dy")])
def test_signatures(kind: type[Module], method: str, argument: str) -> None:
    assert list(inspect.signature(getattr(kind, method)).parameters) == ["self", argument, "tap"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_no_component_asks_which_tap_it_has(path: Path) -> None:
    """Memory policy does, in one place."""
    asks = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
        and "tap" in ast.unparse(node)
    ]  # fmt: skip
    assert len(asks) == {"memory": 1}.get(path.stem, 0)
