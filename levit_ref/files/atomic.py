"""Replacing a file in one move: whoever looks, at any moment and after any crash, sees the old file or the new one."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write; when the block ends well, it becomes ``path``.

    The temporary file lies in the folder of ``path`` (a rename is atomic only within one file system), its content
    is forced to the disk before the rename and the folder's entry after it. When the block raises, the
    temporary file is removed and ``path`` stays as it was. Several threads and processes may write the same ``path`` at
    once: each has a temporary file of its own, and the last to finish wins. The temporary file of a killed process is
    removed by the next call for the same ``path`` on the same machine.

    Parameters
    ----------
    path : path-like
        The file to create or replace; its folder must exist.

    Yields
    ------
    temporary : Path
        Where to write. The block must create the file.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If ``path`` is a folder.
    """
    path = Path(path)
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected the path of a file")
    remove_leftovers(path)
    temporary = folder / f".{path.name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)  # before the rename: else a power cut may leave the new name on empty blocks
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # not on Windows, where a folder cannot be opened
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Make ``text`` the content of ``path``, in UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of ``path`` whose processes are gone.

    Those of living processes stay, and those of other machines, whose processes cannot be seen from here.

    Parameters
    ----------
    path : path-like
        The file that they were to become.
    """
    path = Path(path)
    ours = re.compile(rf"\.{re.escape(path.name)}\.{_machine()}-(\d+)-[0-9a-f]{{8}}\.tmp")
    for other in path.parent.iterdir():
        match = ours.fullmatch(other.name)
        if match and not _is_alive(int(match[1])):
            other.unlink(missing_ok=True)


def _machine() -> str:
    """A short mark of this machine: several may share a folder, and each counts its processes for itself."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        return True  # there is no harmless way to ask
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
