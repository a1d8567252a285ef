"""Replacing a file in one move: whoever looks, at any moment and after any crash, sees the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write; when the block ends well, it becomes ``path``.

    The temporary file lies in the folder of ``path`` (a rename is atomic only within one file system), its content
    is forced to the disk before the rename and the folder's entry after it. When the block raises, the
    temporary file is removed and ``path`` stays as it was. What a killed process left behind is removed by the
    next call for the same ``path``.

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
    """
    path = Path(path)
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist")
    remove_leftovers(path)
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
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
    """Remove the temporary files of ``path`` that killed processes left behind."""
    path = Path(path)
    prefix = f".{path.name}."
    for other in path.parent.iterdir():
        if other.name.startswith(prefix) and other.name.endswith(".tmp"):
            other.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
