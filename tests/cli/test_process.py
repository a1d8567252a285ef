"""What only a process of its own shows: streams, signals, exit statuses, and the number of threads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "levit_ref"]
ROOT = Path(__file__).parents[2]


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start ``levit-ref`` with these words, in an environment with these changes."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


def test_an_error_is_one_line_and_status_2() -> None:
    process = start("summary", "levit_128z")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("levit-ref: error: there is no model 'levit_128z'; did you mean ")
    assert err.count("\n") == 1


def test_help_does_not_wait_for_what_only_some_commands_need() -> None:
    slow = {"matplotlib", "PIL", "pooch", "safetensors", "levit_ref.training", "levit_ref.data"}
    code = f"import sys, levit_ref.cli; print(sorted({slow} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert out == "[]\n"


def test_a_pipe_gets_whole_lines_without_colours_whatever_the_terminal_says() -> None:
    process = start("summary", "levit_128s_32px", COLUMNS="30", FORCE_COLOR="")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out
    (line,) = {line for line in out.splitlines() if "downsample.attn_downsample" in line and "16x256" in line}
    assert len(line.split()) == 5  # name, shape, and three numbers


@pytest.mark.parametrize("words", [["--list"], ["--list", "--json"]])
def test_a_closed_pipe_ends_it_without_a_word(words: list[str]) -> None:
    with start("summary", *words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 1


def test_an_output_that_knows_only_ascii_is_no_reason_to_fail() -> None:
    process = start(
        "summary", "levit_1m_32px", "--time", "--repetitions", "1", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.isascii()
    assert "levit_1m_32px" in out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals, status: int) -> None:
    folder = tmp_path / "run"
    process = start(
        "train", folder, "--train-size", 200, "--test-size", 32, "--epochs", 500, "--batch-size", 32,
        "--checkpoint-every-steps", 1, "--threads", 1,
        OMP_NUM_THREADS="2",
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (folder / "last.safetensors").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, "")
    assert f"levit-ref train --resume {folder}" in out
    (session,) = json.loads((folder / "run.json").read_text())["sessions"]
    assert session["threads"] == {"kernels": 1, "blas": 1}
    assert session["command"].startswith("levit-ref train ")


def test_a_loss_that_is_not_finite_has_status_1(tmp_path: Path) -> None:
    process = start(
        "train", tmp_path / "run", "--train-size", 128, "--test-size", 32, "--clip-mode", "none", "--lr", "1e20",
        "--warmup-epochs", 0, "--batch-size", 32, "--quiet",
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "not finite" in err
    assert err.count("\n") == 1
