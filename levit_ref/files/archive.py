"""Read named files from a folder or straight out of a tar archive: nothing is ever extracted to disk."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from levit_ref.files.errors import FileError

LARGEST = 1 << 30  # bytes
"""A larger file is refused, unless the caller allows it."""

_BLOCK = 1 << 20  # bytes read at once where nothing is kept
_GZIP_MAGIC = b"\x1f\x8b"


def read_files(place: Path, names: Collection[str], *, largest: int = LARGEST) -> Iterator[tuple[str, str, bytes]]:
    """Yield the content of some files of a folder or of a tar archive.

    The order is that of ``names`` for a folder and that of the members for an archive (a gzip stream can only be read
    forwards). The files of an archive may lie in any one folder of it: only the last part of a member's name counts.

    Parameters
    ----------
    place : Path
        A folder, or an archive, with gzip or without.
    names : collection of str
        Names of the files.
    largest : int
        Size in bytes above which a file is refused: a small archive can claim any size.

    Yields
    ------
    name : str
    source : str
        Where the content came from, for error messages.
    content : bytes

    Raises
    ------
    FileNotFoundError
        If one of ``names`` is not in the folder.
    FileError
        If one of ``names`` is not in the archive, or twice; if a file is too large, the archive is truncated or
        damaged, or any of its members is a link, a device or sparse, or has a name that climbs out of its folder.
    """
    if place.is_dir():
        yield from _read_folder(place, names, largest)
    else:
        yield from _read_archive(place, names, largest)


def _read_folder(folder: Path, names: Collection[str], largest: int) -> Iterator[tuple[str, str, bytes]]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder}: {', '.join(missing)} missing; expected {', '.join(names)}")
    for name in names:
        path = folder / name
        _check_size(str(path), path.stat().st_size, largest)
        yield name, str(path), path.read_bytes()


def _read_archive(path: Path, names: Collection[str], largest: int) -> Iterator[tuple[str, str, bytes]]:
    seen: set[str] = set()
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    try:
        with gzip.open(path) if is_gzip else path.open("rb") as stream:
            limited = _Limited(cast(IO[bytes], stream), path, max(largest, _BLOCK))
            for member, name, content in _members(path, limited, names, largest):
                if name in seen:
                    raise FileError(f"{path}: holds {name} twice")
                seen.add(name)
                yield name, f"{path}:{member}", content
    except FileError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, MemoryError) as error:
        raise FileError(f"{path}: not a readable tar archive, truncated or damaged ({error})") from error
    missing = [name for name in names if name not in seen]
    if missing:
        raise FileError(f"{path}: {', '.join(missing)} missing; expected {', '.join(names)}")


def _members(
    path: Path, stream: _Limited, names: Collection[str], largest: int
) -> Iterator[tuple[PurePosixPath, str, bytes]]:
    """Yield the wanted files of the archive, after a look at every member, and read on to the very end."""
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise FileError(f"{path}: member {member.name!r} climbs out of its folder: archive refused")
            if not (member.isfile() or member.isdir()):
                raise FileError(f"{path}: member {member.name!r} is a link or a device: archive refused")
            if member.issparse():
                raise FileError(f"{path}: member {member.name!r} is sparse: archive refused")
            if member.isfile() and name.name in names:
                _check_size(f"{path}:{name}", member.size, largest)
                content = cast(IO[bytes], tar.extractfile(member)).read()
                if len(content) != member.size:
                    raise FileError(f"{path}: truncated inside member {member.name!r}")
                yield name, name.name, content
    # A tar ends before its gzip stream does; the checksum of the stream comes last.
    while stream.read(_BLOCK):
        pass


def _check_size(source: str, size: int, largest: int) -> None:
    if size > largest:
        raise FileError(f"{source}: has {size} bytes, more than the {largest} that are read")


class _Limited:
    """A stream that is never asked for more than ``largest`` bytes at once, whatever a header claims."""

    def __init__(self, stream: IO[bytes], path: Path, largest: int) -> None:
        self._stream, self._path, self._largest = stream, path, largest
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > self._largest:
            raise FileError(f"{self._path}: not a readable tar archive, damaged (a header claims {size} bytes)")
        return self._stream.read(size)
