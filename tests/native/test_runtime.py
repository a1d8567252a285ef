"""Instruction sets and threads: choosing them, and what must not go wrong with either."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import levit_ref
from levit_ref import functional as F
from levit_ref.runtime.native import extension
from tests.native.agreement import normal
from tests.native.conftest import SUPPORTED

pytestmark = pytest.mark.usefixtures("restore_threads")


def product(seed: int = 0) -> np.ndarray:
    return F.linear_forward(normal(seed, 900, 64), normal(seed + 1, 48, 64))[0]


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


# --- instruction sets -------------------------------------------------------------------------------------------------


def test_the_best_supported_one_is_chosen() -> None:
    chosen = python("from levit_ref import _native; print(_native.isa())", LEVIT_REF_ISA=SUPPORTED[0])
    assert chosen.stdout.split() == [SUPPORTED[0]]
    environment = {name: value for name, value in os.environ.items() if name != "LEVIT_REF_ISA"}
    program = "from levit_ref import _native; print(_native.isa())"
    command = [sys.executable, "-c", program]
    default = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert default.stdout.split() == [SUPPORTED[0]]
    assert SUPPORTED[-1] == "baseline"


def test_the_environment_can_ask_for_a_lower_one() -> None:
    program = "import levit_ref; print(levit_ref.backends()[1].about)"
    assert python(program, LEVIT_REF_ISA="baseline").stdout.startswith("C++ kernels for baseline")
    wrong = python(program, LEVIT_REF_ISA="mmx")
    assert wrong.returncode != 0
    assert "LEVIT_REF_ISA: there is no instruction set 'mmx' here; compiled in: " in wrong.stderr


def test_an_unknown_one_is_refused(isa: str) -> None:
    with pytest.raises(ValueError, match=r"there is no instruction set 'mmx' here; compiled in: .*baseline"):
        extension.set_isa("mmx")
    assert extension.isa() == isa


# --- threads ----------------------------------------------------------------------------------------------------------


def test_the_number_of_threads() -> None:
    levit_ref.set_num_threads(3)
    assert levit_ref.num_threads() == 3
    assert "3 threads" in levit_ref.backends()[1].about
    for wrong in (0, -1, 5000):
        with pytest.raises(ValueError, match=f"n must be from 1 to 4096, got {wrong}"):
            levit_ref.set_num_threads(wrong)
    with pytest.raises(TypeError):
        levit_ref.set_num_threads("two")  # type: ignore[arg-type]
    assert levit_ref.num_threads() == 3


def test_the_default_is_the_cores_of_the_process() -> None:
    program = "import os, levit_ref; print(levit_ref.num_threads(), len(os.sched_getaffinity(0)))"
    environment = {name: value for name, value in os.environ.items() if name != "LEVIT_REF_THREADS"}
    threads, cores = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert threads == cores


def test_the_environment_sets_it() -> None:
    program = "import levit_ref; print(levit_ref.num_threads())"
    assert python(program, LEVIT_REF_THREADS="5").stdout.split() == ["5"]
    for wrong in ("0", "many", "2.5", ""):
        refused = python(program, LEVIT_REF_THREADS=wrong)
        assert refused.returncode != 0
        assert f"LEVIT_REF_THREADS must be a number of threads from 1 to 4096, got '{wrong}'" in refused.stderr


def test_python_threads_may_compute_at_once() -> None:
    levit_ref.set_num_threads(3)
    expected = [product(seed) for seed in range(4)]
    wrong: list[str] = []

    def work(seed: int) -> None:
        with levit_ref.use_backend("native"):
            for _ in range(30):
                if not np.array_equal(product(seed), expected[seed]):
                    wrong.append(f"seed {seed}")

    run_at_once([lambda s=seed: work(s) for seed in range(4)])
    assert wrong == []


def test_the_team_may_change_while_others_compute() -> None:
    expected = product()

    def compute() -> None:
        for _ in range(100):
            assert np.array_equal(product(), expected)

    def change() -> None:
        for i in range(100):
            levit_ref.set_num_threads(1 + i % 4)

    run_at_once([compute, compute, change])


def run_at_once(functions: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_forked_child_computes_too() -> None:
    # in a process of its own: forking one that has threads warns, rightly, from Python 3.12 on
    program = """
import os, warnings
warnings.simplefilter("ignore")
import numpy as np, levit_ref
from levit_ref import functional as F
levit_ref.set_num_threads(3)
x, w = np.ones((900, 64), np.float32), np.ones((48, 64), np.float32)
expected = F.linear_forward(x, w)[0]
child = os.fork()
if child == 0:
    right = np.array_equal(F.linear_forward(x, w)[0], expected) and levit_ref.num_threads() == 3
    os._exit(0 if right else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert np.array_equal(F.linear_forward(x, w)[0], expected)
raise SystemExit(status)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
