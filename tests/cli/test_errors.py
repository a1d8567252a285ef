from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import levit_ref
from levit_ref.cli.errors import message
from levit_ref.cli.lazy import COMMANDS

from .conftest import Run, error_line


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"levit-ref {levit_ref.__version__}\n")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    for name in COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_say_the_same_in_the_list_and_by_themselves(run: Run, name: str) -> None:
    function = importlib.import_module(f"levit_ref.cli.{name}").command
    assert (inspect.getdoc(function) or "").splitlines()[0] == COMMANDS[name]
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "--debug" in result.stdout


def test_the_command_line_itself_may_be_wrong(run: Run) -> None:
    assert "summari" in error_line(run("summari"))
    assert "see levit-ref --help" not in error_line(run("summary", "nope"))
    assert "--colour" in error_line(run("--colour"))
    assert "--colour" in error_line(run("summary", "levit_128s", "--colour"))
    assert "summary --help" in error_line(run("summary", "levit_128s", "--colour"))


@pytest.mark.parametrize(
    "words", [["--debug", "summary", "nope"], ["summary", "nope", "--debug"], ["summary", "--debug", "nope"]]
)
def test_debug_shows_the_traceback_wherever_it_stands(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback")
    assert "ValueError: there is no model 'nope'" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("levit-ref: error: there is no model 'nope'")


def test_debug_is_forgotten_by_the_next_run(run: Run) -> None:
    run("--debug", "summary", "nope")
    assert "nope" in error_line(run("summary", "nope"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("2 differences:\n  missing: a\n  missing: b"), "2 differences: missing: a; missing: b"),
        (FileNotFoundError(2, "No such file or directory", "x.png"), "x.png: No such file or directory"),
        (FileNotFoundError("x.png: gone"), "x.png: gone"),
        (ValueError(), "ValueError"),
        (MemoryError(), "not enough memory: try a smaller batch"),
    ],
)
def test_messages_are_one_line(error: Exception, text: str) -> None:
    assert message(error) == text


@pytest.mark.parametrize("kind", [ValueError, TypeError, OSError, MemoryError])
def test_what_users_cause_has_status_2(run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    _fail_in_summary(monkeypatch, kind("it is so"))
    assert error_line(run("summary", "levit_1m_32px")).endswith("it is so")


def test_a_bug_is_not_dressed_up_as_a_users_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_in_summary(monkeypatch, KeyError("bug"))
    result = run("summary", "levit_1m_32px")
    assert result.exit_code == 1
    assert isinstance(result.exception, KeyError)


def test_an_interruption_has_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_in_summary(monkeypatch, KeyboardInterrupt())
    assert run("summary", "levit_1m_32px").exit_code == 130


def test_a_broken_checkpoint_is_one_line_however_much_is_wrong(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    from levit_ref.checkpoints import read_file, write_file

    tensors, metadata = read_file(checkpoint)
    emptied = tmp_path / "emptied.safetensors"
    write_file(emptied, dict(list(tensors.items())[:3]), metadata)
    text = error_line(run("summary", emptied))
    assert text.startswith(f"{emptied}: ")
    assert "missing: " in text


def _fail_in_summary(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module("levit_ref.cli.summary"), "cost_ledger", fail)
