"""Read named files from a folder or straight out of a tar archive: nothing is ever extracted to disk."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from levit_ref.files.errors import FileError

_GZIP_MAGIC = b"\x1f\x8b"


def read_files(place: Path, names: Collection[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield ``(name, source, content)`` for each of `names`, from a folder or from a tar archive.

    `source` says where the content came from, for error messages.  The order is that of `names` for
    a folder and that of the members for an archive (a gzip stream can only be read forwards).  The
    files of an archive may lie in any one folder of it: only the last part of a member's name counts.

    Raises
    ------
    FileNotFoundError
        One of `names` is not in the folder.
    FileError
        One of `names` is not in the archive, or twice; the archive is truncated or damaged; any of
        its members is a link or a device, or has a name that climbs out of its folder.
    """
    if place.is_dir():
        yield from _read_folder(place, names)
    else:
        yield from _read_archive(place, names)


def _read_folder(folder: Path, names: Collection[str]) -> Iterator[tuple[str, str, bytes]]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder}: {', '.join(missing)} missing; expected {', '.join(names)}")
    for name in names:
        yield name, str(folder / name), (folder / name).read_bytes()


def _read_archive(path: Path, names: Collection[str]) -> Iterator[tuple[str, str, bytes]]:
    seen: set[str] = set()
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    try:
        with gzip.open(path) if is_gzip else path.open("rb") as stream:
            for name, content in _members(path, cast(BinaryIO, stream)):
                if name.name not in names:
                    continue
                if name.name in seen:
                    raise FileError(f"{path}: holds {name.name} twice")
                seen.add(name.name)
                yield name.name, f"{path}:{name}", content
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path}: not a readable tar archive, truncated or damaged ({error})") from error
    missing = [name for name in names if name not in seen]
    if missing:
        raise FileError(f"{path}: {', '.join(missing)} missing; expected {', '.join(names)}")


def _members(path: Path, stream: BinaryIO) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield every file of the archive, after a look at every member, and read on to the very end."""
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise FileError(f"{path}: member {member.name!r} climbs out of its folder: archive refused")
            if not (member.isfile() or member.isdir()):
                raise FileError(f"{path}: member {member.name!r} is a link or a device: archive refused")
            opened = tar.extractfile(member)
            if opened is not None:
                content = opened.read()
                if len(content) != member.size:
                    raise FileError(f"{path}: truncated inside member {member.name!r}")
                yield name, content
    # A tar ends before its gzip stream does; the checksum of the stream comes last.
    while stream.read(1 << 20):
        pass
