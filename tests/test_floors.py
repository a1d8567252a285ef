"""Every import goes down (docs/architecture.md), and the check sees those that do not."""

from pathlib import Path

import pytest

from tests.check_floors import FLOORS, PACKAGE, violations


def test_every_import_goes_down() -> None:
    assert violations() == []


def test_every_place_has_a_floor() -> None:
    places = {
        p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert places <= set(FLOORS)


@pytest.mark.parametrize(
    ("file", "statement", "said"),
    [
        ("levit_ref/ops/a.py", "from levit_ref.runtime import backends", "ops -> runtime"),
        ("levit_ref/data/a.py", "from levit_ref.runtime import num_threads", "data -> runtime"),
        ("levit_ref/data/a.py", "from levit_ref.checkpoints import pack", "data -> checkpoints"),
        ("levit_ref/files/a.py", "import levit_ref.data", "files -> data"),
        ("levit_ref/inspection/a.py", "def f():\n    from levit_ref import create_model", "inspection -> __init__"),
        ("levit_ref/evaluation/a.py", "from levit_ref.training import train", "evaluation -> training"),
        ("benchmarks/a.py", "from levit_ref.cli.app import main", "benchmarks -> cli"),
        ("notebooks/01_a.py", "import levit_ref.cli", "notebooks -> cli"),
        ("tools/a.py", "from levit_ref import cli", "tools -> cli"),
        ("levit_ref/training/a.py", "from levit_ref.runtime import use_backend", None),
        ("levit_ref/data/a.py", "from levit_ref import functional as F", None),
        ("levit_ref/nn/a.py", "if TYPE_CHECKING:\n    from levit_ref.training import train", None),
        ("benchmarks/a.py", "import levit_ref.training", None),
    ],
)
def test_an_import_that_is_not_allowed_is_found(file: str, statement: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(f"{statement}\n")
    found = [line.partition(": ")[2] for line in violations(tmp_path)]
    assert found == ([] if said is None else [said])
