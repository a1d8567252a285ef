"""Every import goes down (docs/architecture.md)."""

from tests.check_floors import FLOORS, PACKAGE, violations


def test_every_import_goes_down() -> None:
    assert violations() == []


def test_every_place_has_a_floor() -> None:
    places = {
        p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert places <= set(FLOORS)
