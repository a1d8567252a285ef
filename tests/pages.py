"""Pages that tell how to change the package, as programs: a copy of the tree, the edits of a page, its commands.

A block of code changes a file if a comment, which readers of the rendered page do not see, comes before it::

    <!-- file: levit_ref/nn/blocks.py
         in: class Block(Module):
         after: self.mlp = Mlp(config, ratio) -->

``after``, ``before`` and ``replace`` are followed by a line of the file, without its indentation. It must be the only
one, or the first after the line that ``in`` gives, which must be the only one. Without any of them, the block is a new
file.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BLOCK = re.compile(r"<!-- file: (\S+)\n?(.*?) ?-->\n```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACES = ("after", "before", "replace")


@dataclass(frozen=True)
class Edit:
    """One block of a page: a new file, or lines that go into one."""

    file: str
    lines: tuple[str, ...]
    where: dict[str, str]
    """``after``, ``before`` or ``replace``, and perhaps ``in``, with their lines; empty for a new file."""

    def apply(self, tree: Path) -> None:
        """Write the file, or change it.

        Raises
        ------
        ValueError
            If a new file is there already, or the page's line is not in the file, or in it several times.
        """
        path = tree / self.file
        if not self.where:
            if path.exists():
                raise ValueError(f"{self.file} is there already")
            path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
            return
        there = path.read_text(encoding="utf-8").splitlines()
        (place,) = set(self.where) & set(PLACES)
        start = _only(there, self.where["in"], self.file) if "in" in self.where else None
        if start is None:
            at = _only(there, self.where[place], self.file)
        else:
            at = start + _first(there[start:], self.where[place], self.file)
        low, high = {"after": (at + 1, at + 1), "before": (at, at), "replace": (at, at + 1)}[place]
        path.write_text("\n".join([*there[:low], *self.lines, *there[high:]]) + "\n", encoding="utf-8")


def _places(lines: list[str], wanted: str) -> list[int]:
    return [i for i, line in enumerate(lines) if line.strip() == wanted]


def _only(lines: list[str], wanted: str, file: str) -> int:
    found = _places(lines, wanted)
    if len(found) != 1:
        raise ValueError(f"{file} has the line {wanted!r} {len(found)} times, and the page needs it once")
    return found[0]


def _first(lines: list[str], wanted: str, file: str) -> int:
    found = _places(lines, wanted)
    if not found:
        raise ValueError(f"{file} does not have the line {wanted!r} there")
    return found[0]


def section(page: Path, heading: str | None = None) -> str:
    """The page, or what is below one of its headings of the second level."""
    text = page.read_text(encoding="utf-8")
    if heading is None:
        return text
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def edits(text: str) -> list[Edit]:
    """The blocks of a text that change files, in their order."""
    if text.count("<!-- file:") != len(BLOCK.findall(text)):
        raise ValueError("a comment <!-- file: ... --> is not followed by a block of code")
    found = []
    for file, where, body in BLOCK.findall(text):
        places = dict(line.strip().split(": ", 1) for line in where.splitlines() if line.strip())
        if unknown := set(places) - {*PLACES, "in"}:
            raise ValueError(f"{file}: unknown places {unknown}")
        found.append(Edit(file, tuple(body.removesuffix("\n").split("\n")), places))
    return found


def commands(text: str) -> Iterator[str]:
    """The lines of the shell blocks of a text, without comments; continued lines are one."""
    for block in SHELL.findall(text):
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            command = re.sub(r"(^|\s+)#.*$", "", line).strip()
            if command:
                yield command


def copy_of_tree(folder: Path) -> Path:
    """A copy of all files that belong to the project, changes that are not committed yet included."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0") if (ROOT / ".git").exists() else all_files()  # fmt: skip
    for name in filter(None, names):
        source = ROOT / name
        if source.is_file():  # or it was deleted, and the deletion is not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return folder


def all_files(root: Path = ROOT) -> list[str]:
    """For a copy of the tree without its history: everything that is not made by building, testing or running."""
    made = re.compile(
        r"(^|/)(\.[^/]+|__pycache__|build|runs|[^/]+\.egg-info)(/|$)|\.(so|pyd|pyc)$|/_native_missing\.txt$"
    )
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in names if not made.search(name))


def contents(tree: Path) -> dict[str, bytes]:
    """Every file of a copied tree, to be compared later."""
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """Files that were created, changed or removed."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


# --- a page is carried out -------------------------------------------------------------------------------------------

BUILD = "python setup.py build_ext --inplace"
QUICK_BUILD = r"""
from pathlib import Path

import setup

setup.X86_64 = {"baseline": []}
extension, together = setup.extension(), Path("csrc/bindings_together.cpp")
bindings = [source for source in extension.sources if "const Binding binding(" in Path(source).read_text()]
together.write_text("".join(
    Path(source).read_text().replace("\nnamespace {\n", f"\nnamespace binding_of_{Path(source).stem} {{\n")
    for source in bindings
))
extension.sources = [str(together), *(source for source in extension.sources if source not in bindings)]
setup.setup(script_args=["-q", "build_ext", "--inplace"], ext_modules=[extension],
            cmdclass={"build_ext": setup.BuildKernels})
assert list(Path("levit_ref").glob("_native.*")), "the extension was not built"
"""
"""What ``BUILD`` does, in a tenth of the time: for one instruction set, the bindings as one file, hardly optimised."""


def run(tree: Path, *command: str, **variables: str) -> str:
    """Run a command in a copy of the tree, and return what it printed."""
    ours = "LEVIT_REF_", "PYTEST_"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}"
    return done.stdout


def carry_out(text: str, tree: Path) -> None:
    """Apply the edits of a text, and see that they change the files that its prose names and no others."""
    copy_of_tree(tree)
    before = contents(tree)
    steps = edits(text)
    for edit in steps:
        edit.apply(tree)
    prose = re.sub(r"<!--.*?-->|^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    files = changed(before, contents(tree))
    assert files == {edit.file for edit in steps}
    assert files <= set(re.findall(r"`([\w./]+)`", prose)), "the text does not name every file that it changes"
    python = sorted(name for name in files if name.endswith(".py"))
    run(tree, sys.executable, "-m", "ruff", "check", "--no-cache", *python)
    run(tree, sys.executable, "-m", "ruff", "format", "--no-cache", "--check", *python)


def run_commands(text: str, tree: Path, **variables: str) -> int:
    """Run the commands of a text; how many tests passed. None may be skipped."""
    passed = 0
    for command in commands(text):
        program, *words = shlex.split(command)
        words = ["python", *({"python": [], "levit-ref": ["-m", "levit_ref"]}[program]), *words]
        if command == BUILD:
            run(tree, sys.executable, "-c", QUICK_BUILD, LEVIT_REF_CXXFLAGS="-O1")
            continue
        if words[1:3] == ["-m", "pytest"]:
            words += ["-q", "-p", "no:cacheprovider"]
        said = run(tree, sys.executable, *words[1:], **variables)
        if words[1:3] == ["-m", "pytest"]:
            (summary,) = re.findall(r"^(\d+) passed.*$", said, re.MULTILINE)
            assert " skipped" not in said, said
            passed += int(summary)
    return passed
