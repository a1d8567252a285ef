"""Download a file once into the user's cache folder, with a checksum; an interrupted download continues."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from levit_ref.files.errors import FileError

_CHUNK = 1 << 18  # bytes between two looks at the progress bar
_ALGORITHMS = {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}
_TIMEOUT = 30.0  # seconds without a byte


class DownloadError(FileNotFoundError):
    """A file is not in the cache and could not be downloaded."""


def cache_dir() -> Path:
    """The folder of downloaded files: ``$LEVIT_REF_CACHE``, or the user's cache folder."""
    override = os.environ.get("LEVIT_REF_CACHE")
    if override:
        return Path(override).expanduser()
    import pooch  # here: it takes a while, and looks for a notebook's widgets

    return Path(pooch.os_cache("levit_ref"))


def fetch(url: str, hash: str, folder: Path | None = None, *, download: bool = True, progress: bool = True) -> Path:
    """The file at an address, from the cache folder if it is there.

    The bytes that arrive are kept in ``<file>.part``; if the download breaks off, the next call asks the server for the
    rest only. The file gets its own name once its checksum has been found right.

    Parameters
    ----------
    url : str
        Address of the file. The last part of its path is the name of the file.
    hash : str
        Its checksum in hexadecimal, after the name of the algorithm: ``"md5:..."``, ``"sha256:..."`` or another one
        that :mod:`hashlib` has everywhere.
    folder : Path, optional
        Where to keep it; by default :func:`cache_dir`.
    download : bool
        Whether a missing file may be downloaded.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    path : Path

    Raises
    ------
    DownloadError
        If the file is not in ``folder`` and cannot be downloaded; the message says where to put it by hand.
    FileError
        If the checksum is wrong. A wrong download is deleted; a wrong file that was in ``folder`` is left alone.
    ValueError
        If ``hash`` has no algorithm that is known here.
    """
    algorithm, _, expected = hash.partition(":")
    if algorithm not in _ALGORITHMS or not re.fullmatch("[0-9a-fA-F]+", expected):
        raise ValueError(f"hash must be an algorithm and a hexadecimal number, as in 'sha256:0a1b...', got {hash!r}")
    folder = cache_dir() if folder is None else Path(folder)
    target = folder / url.rsplit("/", 1)[-1]
    if target.exists():
        found = _checksum(target, algorithm)
        if found != expected.lower():
            raise FileError(
                f"{target}: wrong checksum, {algorithm} is {found}, expected {expected}; delete the file to download "
                "it again or, if it is a copy of your own, move it elsewhere and pass its path"
            )
        return target
    by_hand = f"to install it by hand, put the file from {url} into the folder {folder}"
    if not download:
        raise DownloadError(f"{target.name} is not in the cache and downloading is off; {by_hand}")
    part = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not _receive(url, part, progress):
            part.unlink()  # these bytes are not the beginning of that file: start again
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no address of a known kind
        kept = f"; {part.stat().st_size} bytes are kept and the next try continues there" if part.exists() else ""
        raise DownloadError(f"cannot download {url} ({error}){kept}; {by_hand}") from error
    found = _checksum(part, algorithm)
    if found != expected.lower():
        part.unlink()
        raise FileError(
            f"{url}: wrong checksum, the download was deleted; try again ({algorithm} is {found}, expected {expected})"
        )
    os.replace(part, target)
    return target


def _checksum(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _receive(url: str, part: Path, progress: bool) -> bool:
    """Append the missing bytes to the part; False if it does not fit the server's file."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "levit_ref"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if not have or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return bool(re.fullmatch(rf"bytes \*/{have}", error.headers.get("Content-Range", "")))
    with response:
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server ignored the range and sends everything
        elif have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return False
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        got = _copy(response, part, have, total, progress)
    if total is not None and got != total:
        raise ConnectionError(f"the connection broke after {got} of {total} bytes")
    return True


def _copy(response: http.client.HTTPResponse, part: Path, have: int, total: int | None, progress: bool) -> int:
    """Copy the body after the first ``have`` bytes of the part; the size of the part."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    bar = bars.Progress(*columns, console=Console(stderr=True), disable=not progress)
    with bar, part.open("ab" if have else "wb") as file:
        task = bar.add_task(part.stem, total=total, completed=have)
        while block := response.read(_CHUNK):
            file.write(block)
            have += len(block)
            bar.update(task, completed=have)
    return have
