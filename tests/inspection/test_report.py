"""The report on one picture: complete, computed from one pass of it, and without matplotlib until it is drawn."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from levit_ref import inspection
from levit_ref.inspection import record
from levit_ref.inspection.importance import KINDS
from levit_ref.inspection.report import NEEDED, Finding, findings
from levit_ref.nn import LeViT, StemConv
from levit_ref.ops import Array
from tests.nn.networks import tiny

PACKAGE = Path(inspection.__file__).parent
EXAMPLES = 70
"""More than run at once."""


@pytest.fixture
def examples(rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.standard_normal((EXAMPLES, 3, 16, 16)), rng.integers(0, 5, EXAMPLES)


def test_every_tool_has_its_finding(
    model64: LeViT, images64: Array, picture: Array, examples: tuple[Array, Array]
) -> None:
    acts = record(model64, images64[:1], NEEDED)
    todo = list(findings(model64, acts, picture, at=(15, 0), target=2, class_names=tuple("abcde"), examples=examples))
    assert [finding.name for finding in todo] == [
        "attention/stages.0.blocks.0.attn",
        "attention/stages.1.downsample.attn_downsample",
        "attention/stages.1.blocks.0.attn",
        "attention/stages.1.blocks.1.attn",
        "rollout",
        "attention_distance",
        "position_bias",
        "saliency",
        "activation_statistics",
        "first_filters",
        "receptive_fields",
        "layer_similarity",
        "importance",
    ]
    results = {finding.name: finding.compute() for finding in todo}
    figures = {finding.name: finding.draw(results[finding.name]) for finding in todo}
    assert all(finding.about and figures[finding.name].axes for finding in todo)
    assert results["attention/stages.0.blocks.0.attn"].query == (3, 0)  # the token nearest to the pixel
    assert "“c”" in figures["saliency"].get_suptitle()


def test_the_numbers_are_those_of_the_tools(model64: LeViT, images64: Array, picture: Array) -> None:
    acts = record(model64, images64[:1], "*")
    found = {finding.name: finding.compute() for finding in findings(model64, acts, picture)}
    np.testing.assert_array_equal(
        found["attention/stages.0.blocks.0.attn"].maps[:, :, 1, 2], acts["stages.0.blocks.0.attn.probs"][:, :, 10, 6]
    )
    gradient, integrated = found["saliency"]
    assert gradient.classes.tolist() == integrated.classes.tolist() == [acts["logits"][0].argmax()]
    np.testing.assert_array_equal(
        gradient.gradient, inspection.input_gradient(model64, images64[:1], gradient.classes).gradient
    )
    assert list(found["activation_statistics"]) == list(acts.needed(inspection.MAIN_PATH, by="test"))


def test_what_was_not_recorded_is_said_at_once(model64: LeViT, images64: Array, picture: Array) -> None:
    with pytest.raises(ValueError, match=r"findings needs images and .* more, which this record does not have"):
        next(findings(model64, record(model64, images64[:1], "logits"), picture))


@pytest.mark.parametrize(
    "changes",
    [
        {"position": "embedding"},
        {"norm": "layer"},
        {"distillation": False},
        {"stem": (StemConv(8, kernel_size=4, stride=4, padding=0),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("size", [16, (16, 24)], ids=str)
def test_every_kind_of_network(
    changes: dict[str, object], size: int | tuple[int, int], rng: np.random.Generator
) -> None:
    model = tiny(size, **changes)
    images = rng.standard_normal((1, 3, *model.image_size))
    names = []
    for finding in findings(model, record(model, images, NEEDED), rng.random((3, *model.image_size))):
        assert finding.draw(finding.compute()).axes
        names.append(finding.name)
    assert ("position_bias" in names) == ("position" not in changes)
    assert "receptive_fields" in names


# --- how often the picture runs ----------------------------------------------------------------------------------


def passes(finding: Finding, model: LeViT, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Passes of ``model`` while a finding is computed and drawn: (direction, images) and how many."""
    seen: Counter[tuple[str, int]] = Counter()
    forward, backward = LeViT.forward, LeViT.backward

    def count_forward(self: LeViT, x: Array, *args: object) -> Array:
        if self is model:  # and not the random twin that receptive fields are found with
            seen["forward", len(x)] += 1
        return forward(self, x, *args)

    def count_backward(self: LeViT, dy: Array, *args: object) -> Array:
        if self is model:
            seen["backward", len(dy)] += 1
        return backward(self, dy, *args)

    with monkeypatch.context() as patches:
        patches.setattr(LeViT, "forward", count_forward)
        patches.setattr(LeViT, "backward", count_backward)
        finding.draw(finding.compute())
    return seen


def test_the_picture_runs_once_for_all_tools_but_those_that_differentiate(
    model64: LeViT, images64: Array, picture: Array, examples: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    acts = record(model64, images64[:1], NEEDED)
    parts = len(inspection.importance(model64, images64, np.zeros(3, int), KINDS).parts)
    found = {f.name: passes(f, model64, monkeypatch) for f in findings(model64, acts, picture, examples=examples)}
    assert {name: dict(seen) for name, seen in found.items() if seen} == {
        "saliency": {
            # the picture itself; then picture and baseline, and 64 points of the path, 32 at once
            **{("forward", 1): 1, ("backward", 1): 1},
            **{("forward", 2): 1, ("forward", 32): 2, ("backward", 32): 2},
        },
        # one convolution, all of the stem, and the first attention; 8 probes each
        "receptive_fields": {("forward", 8): 3, ("backward", 8): 3},
        "layer_similarity": {("forward", 64): 1, ("forward", 6): 1},  # of the examples
        "importance": {("forward", 64): 1 + parts, ("forward", 6): 1 + parts},
    }


# --- computing apart from drawing --------------------------------------------------------------------------------


def test_only_drawing_knows_matplotlib() -> None:
    def imported(path: Path) -> set[str]:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}

    computing = [path for path in PACKAGE.glob("*.py") if path.name not in ("__init__.py", "report.py")]
    assert len(computing) > 15
    for path in computing:
        knows = [name for name in imported(path) if name.startswith(("matplotlib", "levit_ref.inspection.drawing"))]
        assert knows == [], path
    drawing = [path for path in (PACKAGE / "drawing").glob("*.py") if path.stem not in ("__init__", "canvas")]
    assert len(drawing) == 10
    for path in drawing:  # shares nothing with its tool but the result
        own = f"levit_ref.inspection.{path.stem}"
        tools = {n for n in imported(path) if n.startswith("levit_ref.inspection.") and ".drawing" not in n}
        assert tools <= {own}, path


def test_numbers_need_no_matplotlib() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None  # an import raises
import numpy as np
from levit_ref.inspection import record
from levit_ref.inspection.report import NEEDED, findings
from tests.nn.networks import tiny
model, images = tiny(), np.random.default_rng(0).standard_normal((4, 3, 16, 16))
acts = record(model, images[:1], NEEDED)
todo = list(findings(model, acts, np.zeros((3, 16, 16)), examples=(images, np.arange(4))))
for finding in todo:
    assert finding.compute() is not None
try:
    todo[0].draw(todo[0].compute())
except ImportError:
    print(len(todo))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "13\n"
