"""What ``setup.py`` builds with a compiler that does not know every instruction set."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.native.conftest import SUPPORTED

ROOT = Path(__file__).parents[1]

# In place of all kernels and bindings, which take minutes to compile.
HEADER = r"""
#include "instruction_sets.h"
namespace levit {
struct NameKernels {
    const char* (*name)();
    static const NameKernels LEVIT_INSTRUCTION_SETS;
};
}  // namespace levit
"""
KERNELS = r"""
#include "ops/name.h"
#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)
namespace levit::LEVIT_ISA {
static const char* name() { return TEXT(LEVIT_ISA); }
}
namespace levit {
constinit const NameKernels NameKernels::LEVIT_ISA = {.name = LEVIT_ISA::name};
}
"""
MODULE = r"""
#include "dispatch.h"
#include "ops/name.h"
extern "C" __attribute__((visibility("default"))) const char* compiled_in() {
    static std::string names;
    for (const levit::InstructionSet& set : levit::instruction_sets()) names += std::string(set.name) + " ";
    return names.c_str();
}
extern "C" __attribute__((visibility("default"))) const char* chosen() {
    return levit::kernels<levit::NameKernels>().name();
}
"""
COMPILER = r"""#!/bin/sh
for argument; do
    case " $REFUSED " in *" $argument "*) echo "unknown: $argument" >&2; exit 1 ;; esac
done
exec c++ "$@"
"""
X86_64 = platform.machine() == "x86_64"


@pytest.mark.parametrize("refused", [[], ["-march=x86-64-v4"], ["-march=x86-64-v4", "-march=x86-64-v3"]])
def test_instruction_sets_that_the_compiler_refuses_are_left_out(tmp_path: Path, refused: list[str]) -> None:
    (tmp_path / "csrc" / "ops").mkdir(parents=True)
    (tmp_path / "levit_ref").mkdir()
    for name in ("setup.py", "csrc/instruction_sets.h", "csrc/dispatch.h", "csrc/dispatch.cpp"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "csrc" / "ops" / "name.h").write_text(HEADER)
    (tmp_path / "csrc" / "ops" / "name.cpp").write_text(KERNELS)
    (tmp_path / "csrc" / "module.cpp").write_text(MODULE)
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)

    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = {**os.environ, "CC": str(compiler), "CXX": str(compiler), "REFUSED": " ".join(refused)}
    environment.pop("LEVIT_REF_CXXFLAGS", None)
    built = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # without a terminal, where the line would go too
    )
    assert built.returncode == 0, built.stderr

    flag_of = {"avx512": "-march=x86-64-v4", "avx2": "-march=x86-64-v3"} if X86_64 else {}
    assert built.stdout.splitlines() == [
        f"levit_ref: built without kernels for {isa}: the compiler refuses {flag}"
        for isa, flag in flag_of.items()
        if flag in refused
    ]
    (library,) = (tmp_path / "levit_ref").glob("_native.*")
    module = ctypes.CDLL(str(library))
    module.compiled_in.restype = module.chosen.restype = ctypes.c_char_p
    expected = [isa for isa, flag in flag_of.items() if flag not in refused]
    assert module.compiled_in().decode().split() == [*expected, "baseline"]
    supported = [isa for isa in SUPPORTED if isa in [*expected, "baseline"]]
    assert module.chosen().decode() == os.environ.get("LEVIT_REF_ISA", supported[0])
