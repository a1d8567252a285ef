"""What the pages and docstrings show is true: their Python runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import io
import pkgutil
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from matplotlib import cbook

import levit_ref
from levit_ref.cli.app import app
from tests.pages import BLOCK, ROOT, commands

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "csrc" / "README.md",
        ROOT / "notebooks" / "README.md",
    )
)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to run in, but for a photograph; the choice of a backend and the threads stay as they are."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False), "photo.jpg")
    backend, threads = levit_ref.get_backend(), levit_ref.num_threads()
    yield tmp_path
    levit_ref.set_backend(backend)
    if levit_ref.num_threads() != threads:
        levit_ref.set_num_threads(threads)


# --- Python -----------------------------------------------------------------------------------------------------------


def python_of(page: str) -> list[str]:
    """The blocks that are meant to run as they are: not those that change files, which have tests of their own."""
    return PYTHON.findall(BLOCK.sub("", text_of(page)))


def run(block: str, names: dict[str, object], page: str) -> None:
    """Run a block; what a ``print`` prints must be what the comment after it says, up to a colon and an explanation."""
    lines = block.splitlines()
    for statement in ast.parse(block).body:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module([statement], []), page, "exec"), names)
        promised = re.fullmatch(r"print\(.*\)  # (.*)", lines[(statement.end_lineno or 0) - 1])
        if promised:
            said, comment = printed.getvalue().rstrip("\n"), promised[1]
            assert comment == said or comment.startswith(f"{said}: "), f"{page}: {ast.unparse(statement)}"


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)])
def test_python_of_a_page_runs(page: str, folder: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in python_of(page):  # a block may use what the ones before it made
        run(block, names, page)


def test_a_wrong_promise_is_found() -> None:
    run("x = 3\nprint(x)  # 3: so many\nprint(x)", {}, "page")
    with pytest.raises(AssertionError, match=r"page: print\(x\)"):
        run("x = 3\nprint(x)  # 4", {}, "page")


def test_there_is_something_to_run() -> None:
    counts = {page: len(python_of(page)) for page in PAGES}
    assert min(counts["README.md"], counts["docs/inspection.md"]) >= 2


# --- docstrings -------------------------------------------------------------------------------------------------------


def modules() -> Iterator[ModuleType]:
    yield levit_ref
    for info in pkgutil.walk_packages(levit_ref.__path__, "levit_ref."):
        if not info.name.endswith(("__main__", "._native")):
            yield importlib.import_module(info.name)


EXAMPLES = {test.name: test for module in modules() for test in doctest.DocTestFinder().find(module) if test.examples}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_a_docstring(name: str, folder: Path) -> None:
    test = EXAMPLES[name]
    test.globs.update(np=np, levit_ref=levit_ref)
    said = io.StringIO()
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.DocTestRunner(optionflags=options).run(test, out=said.write, clear_globs=False)
    assert result.attempted > 0
    assert result.failed == 0, said.getvalue()


def test_docstrings_have_examples() -> None:
    assert len(EXAMPLES) >= 20


# --- commands ---------------------------------------------------------------------------------------------------------


def our_commands(page: str) -> Iterator[tuple[str, bool]]:
    """Commands of ours in the blocks of a page; and those in its sentences, which may leave a value out (False)."""
    text = text_of(page)
    for command in commands(text):
        if re.match(r"(\.venv/bin/)?levit-ref ", command):
            yield command.removeprefix(".venv/bin/"), True
    for command in re.findall(r"`(levit-ref [^`\n]+)`", text):
        yield command.removesuffix(" ..."), False


COMMANDS = [(page, command, whole) for page in PAGES for command, whole in our_commands(page)]


def parse(command: str) -> None:
    """Parse a command line as ``levit-ref`` does, without running it.

    Raises
    ------
    UsageError of click
        If there is no such sub-command or option, or a value is not what it takes.
    """
    program, *words = shlex.split(command)
    assert program == "levit-ref"
    group: Any = typer.main.get_command(app)
    context = group.make_context("levit-ref", list(words))
    name, sub_command, rest = group.resolve_command(context, words)
    leaves = (typer.Exit, SystemExit) if "--help" in words else ()
    with contextlib.suppress(*leaves), contextlib.redirect_stdout(io.StringIO()):
        sub_command.make_context(name, rest, parent=context).close()


@pytest.mark.parametrize(("page", "command", "whole"), COMMANDS)
def test_a_command_of_a_page_exists(page: str, command: str, whole: bool, folder: Path) -> None:
    try:
        parse(command)
    except Exception as error:
        if whole or not re.match("Missing parameter|Option .* requires an argument", str(error)):
            raise


@pytest.mark.parametrize(
    "command", ["levit-ref train --no-such-setting 3", "levit-ref no-such-command", "levit-ref train --epochs many"]
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises(Exception, match=r"[Nn]o such (option|command)|valid integer") as error:
        parse(command)
    assert "UsageError" in {kind.__name__ for kind in type(error.value).__mro__}


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 15


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made for the web."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


def test_every_page_is_in_the_index() -> None:
    """docs/README.md has a line for every page below it; a folder with a contents page of its own has one line."""
    index = text_of("docs/README.md")
    for page in PAGES:
        path = Path(page)
        if path.parts[0] != "docs" or page == "docs/README.md":
            continue
        shown = path if len(path.parts) == 2 else path.parent / "README.md"
        assert f"({shown.relative_to('docs').as_posix()})" in index, f"{page} is not in docs/README.md"
