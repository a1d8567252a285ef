"""The names at the top of the package: all there, cheap to import, seen by tools."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import levit_ref

SOURCE = Path(levit_ref.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", levit_ref.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(levit_ref, name) is not None
    assert name in dir(levit_ref)


def test_what_is_imported_later_is_what_type_checkers_see() -> None:
    """The table of late imports and the imports under TYPE_CHECKING say the same."""
    (block,) = (
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen == levit_ref._LATER
    assert set(seen) <= set(levit_ref.__all__) == {name for name in levit_ref.__all__ if name in dir(levit_ref)}
    assert sorted(levit_ref.__all__) == levit_ref.__all__


def test_the_import_waits_for_nothing_that_is_not_needed() -> None:
    code = """
        import sys, levit_ref
        late = {"PIL", "matplotlib", "typer", "rich", "safetensors", "levit_ref.training", "levit_ref.data"}
        assert not late & set(sys.modules), late & set(sys.modules)
        levit_ref.create_model("levit_250k_32px")
        assert not late & set(sys.modules), late & set(sys.modules)
        from levit_ref import Checkpoint, train
        assert {"safetensors", "levit_ref.training"} <= set(sys.modules)
        assert "typer" not in sys.modules
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    subprocess.run([sys.executable, "-c", lines], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'levit_ref' has no attribute 'save_model'"):
        levit_ref.save_model  # noqa: B018
    assert not hasattr(levit_ref, "backend_of")
