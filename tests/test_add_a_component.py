"""The page docs/add-a-component.md, carried out: its edits on a copy of the tree, and its commands."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT, Edit, all_files, carry_out, commands, edits, run, run_commands, section

PAGE = ROOT / "docs" / "add-a-component.md"


def test_squeeze_excitation(tmp_path: Path) -> None:
    text = section(PAGE, "Squeeze-excitation in a block")
    carry_out(text, tmp_path)
    assert run_commands(text, tmp_path, LEVIT_REF_BACKEND="numpy") > 20


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_activation_with_a_kernel(tmp_path: Path) -> None:
    text = section(PAGE, "An activation with a kernel")
    carry_out(text, tmp_path)
    assert run_commands(text, tmp_path, LEVIT_REF_BACKEND="native") > 40
    run(tmp_path, sys.executable, "-c", AGREEMENT, LEVIT_REF_BACKEND="native")


AGREEMENT = """
from dataclasses import replace
from pathlib import Path

import numpy as np

import levit_ref
from levit_ref import functional as F, ops
from levit_ref.nn import LeViT

from levit_ref import _native

assert Path(_native.__file__).is_relative_to(Path.cwd()), _native.__file__
assert F.has_kernel("activation_forward", np.float32)
x, weight = (np.random.default_rng(i).standard_normal((n, 24)).astype(np.float32) for i, n in enumerate((50, 30)))
fused, _ = F.linear_forward(x, weight, activation="elu")
expected, _ = ops.linear_forward(x.astype(float), weight.astype(float), activation="elu")
np.testing.assert_allclose(fused, expected, atol=1e-5)

config = replace(levit_ref.get_config("levit_250k_32px"), activation="elu", attention_activation="elu")
model = LeViT(config, num_classes=10, image_size=32)
images = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)
results = []
for backend in "native", "numpy":
    with levit_ref.use_backend(backend):
        model.zero_grad()
        logits = model.forward(images)
        model.backward(np.eye(10, dtype=np.float32)[:4])
        results.append((logits, model.flat_grad.copy()))
for ours, theirs in zip(*results):
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
"""
"""The new activation in a fused product, and in a network: forward and backward on the kernels and on NumPy."""


# --- the copy of the tree --------------------------------------------------------------------------------------------


def test_a_tree_without_its_history_is_copied_without_what_was_built(tmp_path: Path) -> None:
    made = ".venv/a.py", "build/b.o", "x.egg-info/c", "runs/d", "levit_ref/_native.so", "levit_ref/__pycache__/e.pyc"
    own = "README.md", "notebooks/build.py", "levit_ref/__init__.py", "tests/runs.py"
    for name in (*made, "levit_ref/_native_missing.txt", *own):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(all_files(tmp_path)) == set(own)


# --- the blocks of a page --------------------------------------------------------------------------------------------


def test_an_edit_needs_its_line_once(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one\n  two\nthree\n  two\n")
    with pytest.raises(ValueError, match=r"a\.py has the line 'two' 2 times"):
        Edit("a.py", ("x",), {"after": "two"}).apply(tmp_path)
    with pytest.raises(ValueError, match="'four' 0 times"):
        Edit("a.py", ("x",), {"before": "four"}).apply(tmp_path)
    with pytest.raises(ValueError, match="does not have the line 'one' there"):
        Edit("a.py", ("x",), {"in": "three", "after": "one"}).apply(tmp_path)
    with pytest.raises(ValueError, match="is there already"):
        Edit("a.py", ("x",), {}).apply(tmp_path)
    assert file.read_text() == "one\n  two\nthree\n  two\n"
    Edit("a.py", ("  x", "  y"), {"in": "three", "replace": "two"}).apply(tmp_path)
    Edit("a.py", ("zero",), {"before": "one"}).apply(tmp_path)
    Edit("b.py", ("new",), {}).apply(tmp_path)
    assert file.read_text() == "zero\none\n  two\nthree\n  x\n  y\n"
    assert (tmp_path / "b.py").read_text() == "new\n"


def test_a_text_is_read_as_it_is_meant() -> None:
    text = "<!-- file: a/b.py\n     in: class X:\n     after: y = 1 -->\n```python\n    z = 2\n\n```\n"
    assert edits(text) == [Edit("a/b.py", ("    z = 2", ""), {"in": "class X:", "after": "y = 1"})]
    assert edits("<!-- file: new.py -->\n```python\nz = 2\n```\n") == [Edit("new.py", ("z = 2",), {})]
    with pytest.raises(ValueError, match="not followed by a block"):
        edits("<!-- file: a.py -->\ntext\n```python\nz\n```\n")
    with pytest.raises(ValueError, match="unknown places"):
        edits("<!-- file: a.py\n behind: x -->\n```python\nz\n```\n")
    assert list(commands("```sh\na b  # c\n# d\ne \\\n    f '#g'\n```\n")) == ["a b", "e f '#g'"]
