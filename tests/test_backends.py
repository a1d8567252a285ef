"""Choosing a backend: for the process, for a block, from the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import levit_ref
from levit_ref import ops
from levit_ref.runtime import BACKENDS, F, describe_backend, native


@pytest.fixture
def shouting(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A second backend, whose linear layer is recognisable."""
    module = ModuleType("shouting")
    vars(module).update({name: getattr(ops, name) for name in ops.__all__})
    vars(module)["linear_forward"] = lambda x, weight, bias=None: (np.full((len(x), len(weight)), 7.0), None)
    monkeypatch.setitem(BACKENDS, "shouting", module)
    return module


def result() -> float:
    return float(F.linear_forward(np.zeros((1, 2)), np.zeros((3, 2)))[0][0, 0])


def test_numpy_is_there() -> None:
    assert "numpy" in levit_ref.available_backends()
    with levit_ref.use_backend("numpy"):
        assert levit_ref.get_backend() == "numpy"
        assert F.linear_forward is ops.linear_forward


def test_a_block_runs_on_another_and_returns(shouting: ModuleType) -> None:
    before = levit_ref.get_backend()
    with levit_ref.use_backend("shouting"):
        assert levit_ref.get_backend() == "shouting"
        assert result() == 7
        with levit_ref.use_backend("numpy"):
            assert result() == 0
        assert result() == 7
    assert levit_ref.get_backend() == before
    assert result() == 0


def test_a_block_returns_after_an_exception(shouting: ModuleType) -> None:
    before = levit_ref.get_backend()
    with pytest.raises(KeyError), levit_ref.use_backend("shouting"):
        raise KeyError
    assert levit_ref.get_backend() == before


def test_modules_run_on_the_active_backend(shouting: ModuleType) -> None:
    layer = levit_ref.nn.Linear(2, 3, rng=np.random.default_rng(0))
    with levit_ref.use_backend("shouting"):
        assert (layer(np.zeros((1, 2))) == 7).all()
    assert (layer(np.zeros((1, 2))) == 0).all()


def test_set_backend(shouting: ModuleType) -> None:
    before = levit_ref.get_backend()
    try:
        levit_ref.set_backend("shouting")
        assert result() == 7
    finally:
        levit_ref.set_backend(before)
    assert result() == 0


def test_an_unknown_backend_is_refused_and_changes_nothing() -> None:
    before = levit_ref.get_backend()
    for choose in (levit_ref.set_backend, lambda name: levit_ref.use_backend(name).__enter__()):
        with pytest.raises(ValueError, match="there is no backend 'cuda' here; available: numpy"):
            choose("cuda")
    assert levit_ref.get_backend() == before


def test_the_active_one_is_described() -> None:
    with levit_ref.use_backend("numpy"):
        assert describe_backend() == f"numpy: NumPy {np.__version__}, the reference"
    if "native" in BACKENDS:
        with levit_ref.use_backend("native"):
            assert re.fullmatch(r"native: C\+\+ kernels for \w+, \d+ threads?", describe_backend())


def test_numpy_in_place_of_the_native_one_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "operations", None)
    monkeypatch.setattr(native, "about", lambda: "not built: no compiler")
    with levit_ref.use_backend("numpy"):
        assert describe_backend().endswith(", the reference (native is not available: not built: no compiler)")


def test_an_unknown_operation_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_operation"):
        assert F.no_such_operation


def run(choice: str) -> subprocess.CompletedProcess[str]:
    program = "import levit_ref; print(levit_ref.get_backend())"
    environment = {**os.environ, "LEVIT_REF_BACKEND": choice}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def test_the_environment_chooses_the_first() -> None:
    assert run("numpy").stdout == "numpy\n"
    wrong = run("abacus")
    assert wrong.returncode != 0
    assert "ValueError: LEVIT_REF_BACKEND: there is no backend 'abacus' here; available: numpy" in wrong.stderr
