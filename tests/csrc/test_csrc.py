"""Builds and runs the test programs of this folder: the C++ layers by themselves, without Python around them."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.conftest import SUPPORTED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SETUP = runpy.run_path(str(ROOT / "setup.py"))
RUNTIME = [ROOT / "csrc" / "runtime" / f"{name}.cpp" for name in ("buffers", "scratch", "thread_pool")]


def run_program(folder: Path, flags: list[str], *sources: Path) -> None:
    """Build a program from these sources; it ends with status 0 if all its checks hold."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if shutil.which(compiler[0]) is None:
        pytest.fail(f"the tests of csrc/ need a C++ compiler, and there is no {compiler[0]}: install one, or set CXX")
    program = folder / "program"
    include = [f"-I{ROOT / 'csrc'}", f"-I{HERE}"]
    flags = [*SETUP["FLAGS"], "-Werror", *flags, *SETUP["added_flags"]()]
    command = [*compiler, *flags, *include, *map(str, sources), "-pthread", "-o", program]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_thread_pool_and_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEVIT_REF_THREADS", raising=False)  # the program tests the default too
    run_program(tmp_path, [], HERE / "thread_pool_test.cpp", *RUNTIME)


def test_instruction_sets_to_test() -> None:
    assert SUPPORTED[-1] == "baseline"


@pytest.mark.parametrize("isa", SUPPORTED)
def test_the_layers_under_the_operations(tmp_path: Path, isa: str) -> None:
    flags = [f"-DLEVIT_ISA={isa}", *SETUP["instruction_sets"]()[isa]]
    run_program(tmp_path, flags, HERE / "kernels_test.cpp")
