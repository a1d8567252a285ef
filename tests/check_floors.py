"""The floors of docs/architecture.md, checked: a module may import only from floors below its own.

``python tests/check_floors.py`` prints every import that goes up or sideways or that a place must not have, and every
include of ``csrc/`` that does not go down, and fails if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "levit_ref"

FLOORS = {
    "_version": 0,
    "_native": 0,
    "_suggest": 0,
    "ops": 1,
    "files": 1,
    "settings": 1,
    "figures": 1,
    "pretrained": 1,
    "runtime": 2,
    "functional": 3,
    "nn": 4,
    "configs": 5,
    "preprocessing": 5,
    "data": 6,
    "checkpoints": 6,
    "evaluation": 6,
    "inspection": 6,
    "training": 6,
    "__init__": 7,
    "cli": 8,
    "__main__": 9,
}
SIDEWAYS = {
    ("training", "data"),
    ("training", "checkpoints"),
    ("training", "evaluation"),
    ("evaluation", "data"),
    ("evaluation", "checkpoints"),
}
"""The only imports allowed between places of one floor."""

ONLY_THE_DOOR = ("nn", "configs", "preprocessing", "data", "checkpoints", "evaluation")
"""Places that must not import ``runtime``, since ``functional`` decides who computes. ``training`` and ``cli`` choose
the backend and the threads of a process, and ``inspection`` plans with them."""

BESIDE = ("notebooks", "benchmarks", "tools")
"""Folders of programs that use the package as anybody would, which means without ``cli``."""


def place_of(module: str) -> str:
    """``levit_ref.nn.stem`` is in ``nn``; the package itself is ``__init__``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(line, module of levit_ref) for every import that runs; those under TYPE_CHECKING do not."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "levit_ref":
            modules = [node.module] if node.module != "levit_ref" else [f"levit_ref.{a.name}" for a in node.names]
            found += [(node.lineno, m) for m in modules]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.split(".")[0] == "levit_ref"]
    return found


def violations(root: Path = PACKAGE.parent) -> list[str]:
    """Every import that does not go down, or that a place must not have, as ``file:line: from -> to``."""
    bad = []
    package = root / PACKAGE.name
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).parts[0].removesuffix(".py")
        for line, module in imports_of(path):
            target = place_of(module)
            target = target if target in FLOORS else "__init__"
            down = FLOORS[target] < FLOORS[place] and not (place in ONLY_THE_DOOR and target == "runtime")
            if not (down or target == place or (place, target) in SIDEWAYS):
                bad.append(f"{path.relative_to(root)}:{line}: {place} -> {target}")
    for folder in BESIDE:
        for path in sorted((root / folder).rglob("*.py")):
            found = [(line, module) for line, module in imports_of(path) if place_of(module) == "cli"]
            bad += [f"{path.relative_to(root)}:{line}: {folder} -> cli" for line, _ in found]
    return bad


CSRC = PACKAGE.parent / "csrc"
CSRC_LAYERS = ["runtime", "simd", "gemm", "ops", "bindings"]
"""The folders of csrc, each of which may include only from those before it and from itself. ``runtime`` runs tasks and
keeps memory: it knows no kernel, nor the choice between them. ``gemm`` multiplies, and knows no operation."""
CSRC_SHARED = {"sanitizers.h", "activation_kind.h", "instruction_sets.h"}
"""The headers beside the folders that all of them may include; ``dispatch.h`` is for the bindings alone."""


def csrc_violations() -> list[str]:
    """Every include of csrc that does not go down, as ``file:line: folder -> header``."""
    bad = []
    for path in sorted(p for folder in CSRC_LAYERS for p in (CSRC / folder).rglob("*") if p.suffix in (".h", ".cpp")):
        folder = path.relative_to(CSRC).parts[0]
        below = CSRC_LAYERS[: CSRC_LAYERS.index(folder) + 1]
        for line, text in enumerate(path.read_text().splitlines(), start=1):
            include = re.match(r'\s*#\s*include\s+"(.*)"', text)
            if include is None:
                continue
            header = include[1]
            target = header.split("/")[0] if "/" in header else ""
            if not (target in below or header in CSRC_SHARED or (folder, header) == ("bindings", "dispatch.h")):
                bad.append(f"{path.relative_to(PACKAGE.parent)}:{line}: {folder} -> {header}")
    return bad


if __name__ == "__main__":
    found = violations() + csrc_violations()
    print("\n".join(found) or "every import goes down")
    sys.exit(bool(found))
