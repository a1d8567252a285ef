"""Choosing a backend: for the process, for a block, from the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import levit_ref
from levit_ref import functional as F
from levit_ref.runtime import BACKENDS, describe_backend, native, threads
from levit_ref.runtime.native.kernel import Kernel


@pytest.fixture
def shouting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second backend, whose linear layer is recognisable."""

    def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, None]:
        return np.full((len(x), len(weight)), 7.0), None

    monkeypatch.setitem(BACKENDS, "shouting", {"linear_forward": Kernel(linear)})


def result() -> float:
    return float(F.linear_forward(np.zeros((1, 2)), np.zeros((3, 2)))[0][0, 0])


def test_numpy_is_there() -> None:
    assert "numpy" in levit_ref.available_backends()
    with levit_ref.use_backend("numpy"):
        assert levit_ref.get_backend() == "numpy"
        assert result() == 0


def test_a_block_runs_on_another_and_returns(shouting: None) -> None:
    before = levit_ref.get_backend()
    with levit_ref.use_backend("shouting"):
        assert levit_ref.get_backend() == "shouting"
        assert result() == 7
        with levit_ref.use_backend("numpy"):
            assert result() == 0
        assert result() == 7
    assert levit_ref.get_backend() == before
    assert result() == 0


def test_a_block_returns_after_an_exception(shouting: None) -> None:
    before = levit_ref.get_backend()
    with pytest.raises(KeyError), levit_ref.use_backend("shouting"):
        raise KeyError
    assert levit_ref.get_backend() == before


def test_modules_run_on_the_active_backend(shouting: None) -> None:
    layer = levit_ref.nn.Linear(2, 3, np.random.default_rng(0))
    with levit_ref.use_backend("shouting"):
        assert (layer(np.zeros((1, 2))) == 7).all()
    assert (layer(np.zeros((1, 2))) == 0).all()


def test_set_backend(shouting: None) -> None:
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
    monkeypatch.setattr(native, "extension", None)
    monkeypatch.setattr(native, "about", lambda: "not built: no compiler")
    with levit_ref.use_backend("numpy"):
        assert describe_backend().endswith(", the reference (native is not available: not built: no compiler)")


def test_without_the_native_backend_there_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "extension", None)
    assert levit_ref.num_threads() == 1
    with pytest.raises(RuntimeError, match="threads are the native backend's, which is not available"):
        levit_ref.set_num_threads(2)


def run(choice: str) -> subprocess.CompletedProcess[str]:
    program = "import levit_ref; print(levit_ref.get_backend())"
    environment = {**os.environ, "LEVIT_REF_BACKEND": choice}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def test_the_environment_chooses_the_first() -> None:
    assert run("numpy").stdout == "numpy\n"
    wrong = run("abacus")
    assert wrong.returncode != 0
    assert "ValueError: LEVIT_REF_BACKEND: there is no backend 'abacus' here; available: numpy" in wrong.stderr
