"""Files that are whole or not there, whoever writes them at once and whoever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from levit_ref.files import replace_text, replacing
from levit_ref.files.atomic import remove_leftovers


def in_another_process(code: str, path: Path) -> int:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=False).returncode


def killed_while_writing(path: Path) -> None:
    """A process that is killed before the rename."""
    code = """
        import os, signal, sys
        from levit_ref.files import replacing
        with replacing(sys.argv[1]) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert in_another_process(code, path) == -9


def test_a_file_is_created_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("first", "second", "é"):
        replace_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_exception_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_process_leaves_the_old_file_and_its_leftovers_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    killed_while_writing(path)
    assert len(os.listdir(tmp_path)) == 2  # the temporary file of the dead process lies about
    assert path.read_text() == "old"
    replace_text(path, "new")
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.read_text() == "new"


def test_leftovers_of_other_files_stay(tmp_path: Path) -> None:
    for name in ("b.txt", "a", "a.txt.old", "aXtxt"):
        killed_while_writing(tmp_path / name)
    before = os.listdir(tmp_path)
    assert len(before) == 4
    remove_leftovers(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == before


def test_leftovers_of_other_machines_stay(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "a.txt")
    (name,) = os.listdir(tmp_path)
    mark, pid, random = name.removeprefix(".a.txt.").split("-")
    elsewhere = tmp_path / f".a.txt.{'0' * len(mark)}-{pid}-{random}"
    elsewhere.write_text("half")
    remove_leftovers(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == [elsewhere.name]


def test_a_living_process_keeps_its_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    code = "import sys; from levit_ref.files import replace_text; replace_text(sys.argv[1], 'second')"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert in_another_process(code, path) == 0
        assert path.read_text() == "second"
    assert path.read_text() == "first"  # the last to finish wins
    assert os.listdir(tmp_path) == ["a.txt"]


def test_threads_that_write_the_same_file(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.txt", [str(k) * 10_000 for k in range(8)]
    errors: list[Exception] = []

    def write(text: str) -> None:
        try:
            for _ in range(10):
                replace_text(path, text)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["a.txt"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.a\.txt: the folder .*nowhere does not exist"):
        replace_text(tmp_path / "nowhere" / "a.txt", "x")
    for path in (tmp_path, ""):
        with pytest.raises(IsADirectoryError, match="is a folder, expected the path of a file"):
            replace_text(path, "x")
    assert os.listdir(tmp_path) == []
