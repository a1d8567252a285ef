"""Builds and runs the test programs of this folder: the C++ layers by themselves, without Python around them."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.check_floors import csrc_violations
from tests.native.conftest import SUPPORTED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SETUP = runpy.run_path(str(ROOT / "setup.py"))
RUNTIME = [ROOT / "csrc" / "runtime" / f"{name}.cpp" for name in ("buffers", "scratch", "thread_pool")]
GEMM = ROOT / "csrc" / "gemm" / "gemm.cpp"


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
    run_program(tmp_path, flags, HERE / "kernels_test.cpp", GEMM)


def test_instruction_sets_share_no_function(tmp_path: Path) -> None:
    """The linker keeps one of several functions of the same name, and it may need instructions that are not there."""
    isa = SUPPORTED[0]
    everything = tmp_path / "everything.cpp"
    everything.write_text("".join(f'#include "{ROOT / source}"\n' for source in SETUP["kernel_sources"]()))
    flags = [*SETUP["FLAGS"], *SETUP["instruction_sets"]()[isa], f"-DLEVIT_ISA={isa}", f"-I{ROOT / 'csrc'}", "-O0"]
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    subprocess.run([*compiler, *flags, "-c", everything, "-o", tmp_path / "everything.o"], check=True)
    listing = subprocess.run(
        ["nm", "-C", "--defined-only", tmp_path / "everything.o"], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split(maxsplit=2)[1:] for line in listing.splitlines()]
    shared = [name for kind, name in symbols if kind in "TWVuB" and f"levit::{isa}::" not in name]
    assert shared == []
    assert sum(f"levit::{isa}::" in name for _, name in symbols) > 100
    tables = [name for _, name in symbols if name.endswith(f"Kernels::{isa}")]
    assert len(tables) == sum(Path(source).parent.name == "ops" for source in SETUP["kernel_sources"]())


def test_includes_go_down() -> None:
    assert csrc_violations() == []
