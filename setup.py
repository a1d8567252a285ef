"""Builds the C++ extension of csrc/; everything else about the package is in pyproject.toml.

The files of ``KERNEL_FOLDERS`` are compiled once for each instruction set, with the compiler's flags for it, and all
others once. The best instruction set that the processor has is chosen when the package is imported. Those whose flags
the compiler does not know are left out, and a line says so. Where the extension cannot be built, the package is
installed without it: a line says so, and ``levit_ref.backends()`` says why.

``LEVIT_REF_CXXFLAGS`` adds flags for compiler and linker, after all others: ``-fsanitize=address -O1``, for example.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path("csrc")
FLAGS = ["-std=c++20", "-O3", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra", "-g0"]
X86_64 = {
    "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "avx2": ["-march=x86-64-v3"],
    "baseline": [],
}
KERNEL_FOLDERS = ["gemm", "ops"]
REASON_FILE = "_native_missing.txt"


def instruction_sets() -> dict[str, list[str]]:
    """Flags by name, for the machine that this is built for."""
    return X86_64 if platform.machine() in ("x86_64", "AMD64") else {"baseline": []}


def kernel_sources() -> list[str]:
    """The files that are compiled for each instruction set."""
    return sorted(str(path) for folder in KERNEL_FOLDERS for path in (CSRC / folder).glob("*.cpp"))


def added_flags() -> list[str]:
    """What ``LEVIT_REF_CXXFLAGS`` adds."""
    return shlex.split(os.environ.get("LEVIT_REF_CXXFLAGS", ""))


def reason_of(error: Exception) -> str:
    """What went wrong, in a line; of a compiler's call not its arguments, which are many."""
    for cause in (error, *error.args, error.__cause__, error.__context__):
        if isinstance(cause, subprocess.CalledProcessError):
            compiler = shlex.join(cause.cmd[:1]) if isinstance(cause.cmd, list) else str(cause.cmd).split()[0]
            return f"{compiler} ended with status {cause.returncode} (pip install -v shows what it said)"
    return " ".join(str(error).split())[:300] or type(error).__name__


def tell_user(line: str) -> None:
    """Print a line, and on the terminal too: pip shows what a build prints only if the build fails."""
    print(line)
    if not sys.stdout.isatty():
        with contextlib.suppress(OSError), open("/dev/tty", "w") as terminal:
            terminal.write(f"\n{line}\n")


class BuildKernels(build_ext):
    """Compiles the kernels once for each instruction set, and survives a machine that cannot."""

    def run(self) -> None:
        """Build; where that fails, leave a note of why in place of the module."""
        inplace = self.inplace
        try:
            super().run()
        except Exception as error:
            reason = reason_of(error)
            tell_user(f"levit_ref: installed without the native backend, NumPy runs everything: {reason}")
            self.inplace = inplace  # super().run() sets it aside while it builds
            module, note = self._module_and_note()
            module.unlink(missing_ok=True)  # one of an earlier build would not fit these sources
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"not built: {reason}\n")
        else:
            self._module_and_note()[1].unlink(missing_ok=True)

    def build_extension(self, extension: Extension) -> None:
        """Compile and link, the sources side by side."""
        if self.compiler.compiler_type == "msvc":
            raise RuntimeError("the kernels need GCC or Clang (vector extensions), and this is MSVC")
        from pybind11.setup_helpers import has_flag

        extra = added_flags()
        refused = {
            isa: [flag for flag in flags if not has_flag(self.compiler, flag)]
            for isa, flags in instruction_sets().items()
        }
        compiled_in = {isa: flags for isa, flags in instruction_sets().items() if not refused[isa]}

        def compile_one(job: tuple[str, str, list[str]]) -> list[str]:
            source, folder, flags = job
            return self.compiler.compile(
                [source],
                output_dir=str(Path(self.build_temp) / folder),
                include_dirs=[str(CSRC), *extension.include_dirs],
                extra_postargs=[*FLAGS, *flags, *extra],
                depends=extension.depends,
            )

        kernels = kernel_sources()
        jobs = [
            (source, isa, [f"-DLEVIT_ISA={isa}", *flags]) for isa, flags in compiled_in.items() for source in kernels
        ]
        has = [f"-DLEVIT_HAS_{isa}" for isa in compiled_in]
        jobs += [(source, "common", has) for source in extension.sources if source not in kernels]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [path for paths in pool.map(compile_one, jobs) for path in paths]
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(extension.name), target_lang="c++", extra_postargs=["-pthread", *extra]
        )
        for isa, flags in refused.items():
            if flags:
                tell_user(f"levit_ref: built without kernels for {isa}: the compiler refuses {' '.join(flags)}")

    def _module_and_note(self) -> tuple[Path, Path]:
        module = Path(self.get_ext_fullpath("levit_ref._native"))  # in the source tree if self.inplace
        return module, module.with_name(REASON_FILE)


def extension() -> Extension:
    """The module, all of csrc/ in it."""
    import pybind11

    return Extension(
        "levit_ref._native",
        sources=sorted(str(path) for path in CSRC.rglob("*.cpp")),
        depends=sorted(str(path) for path in CSRC.rglob("*.h")),
        include_dirs=[pybind11.get_include()],
        language="c++",
    )


if __name__ == "__main__":  # tests/csrc takes the flags from here
    setup(ext_modules=[extension()], cmdclass={"build_ext": BuildKernels})
