"""Download a file once into the user's cache folder, with a checksum; an interrupted download continues."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from levit_ref.files.errors import FileError

_CHUNK = 1 << 18  # bytes between two looks at the progress bar
_TIMEOUT = 30.0  # seconds without a byte


class DownloadError(FileNotFoundError):
    """A file is not in the cache and could not be downloaded."""


def cache_dir() -> Path:
    """Return the folder of downloaded files: ``$LEVIT_REF_CACHE``, or the user's cache folder."""
    override = os.environ.get("LEVIT_REF_CACHE")
    if override:
        return Path(override).expanduser()
    import pooch  # here and below: it takes a while, and looks for a notebook's widgets

    return Path(pooch.os_cache("levit_ref"))


def fetch(url: str, md5: str, folder: Path | None = None, *, download: bool = True, progress: bool = True) -> Path:
    """Return the path of the file at `url`, from the cache folder if it is there.

    The bytes that arrive are kept in ``<file>.part``; if the download breaks off, the next call asks the
    server for the rest only.  The file gets its own name after its checksum was found right.

    Parameters
    ----------
    url
        Address of the file
    md5
        Its MD5 checksum, in hexadecimal
    folder
        Where to keep it; `cache_dir` by default
    download
        Whether a missing file may be downloaded
    progress
        Whether to show a progress bar on stderr

    Raises
    ------
    DownloadError
        The file is not in `folder` and cannot be downloaded; the message says where to put it by hand.
    FileError
        The checksum is wrong.  A wrong download is deleted; a wrong file that was in `folder` is left alone.
    """
    folder = cache_dir() if folder is None else Path(folder)
    target = folder / url.rsplit("/", 1)[-1]
    if target.exists():
        _check_md5(target, md5)
        return target
    by_hand = f"to install it by hand, put the file from {url} into the folder {folder}"
    if not download:
        raise DownloadError(f"{target.name} is not in the cache and downloading is off; {by_hand}")
    import pooch

    part = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, f"md5:{md5}", target.name, folder, downloader=_ResumingDownloader(part, progress))
    except ValueError as error:  # pooch found another checksum, and has deleted the file
        raise FileError(f"{url}: wrong checksum, the download was deleted; try again ({error})") from error
    except (OSError, http.client.HTTPException) as error:
        kept = f"; {part.stat().st_size} bytes are kept and the next try continues there" if part.exists() else ""
        raise DownloadError(f"cannot download {url} ({error}){kept}; {by_hand}") from error
    return target


def _check_md5(path: Path, expected: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise FileError(
            f"{path}: wrong checksum, md5 is {digest.hexdigest()}, expected {expected}; delete the file to "
            "download it again, or pass its path as data_dir if it is a copy of your own"
        )


class _ResumingDownloader:
    """A pooch downloader that collects the bytes in a file which outlives an interruption."""

    def __init__(self, part: Path, progress: bool) -> None:
        self._part = part
        self._progress = progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Download `url` and move it, complete, to `output_file` (a temporary file in the same folder)."""
        while not self._receive(url):
            self._part.unlink()  # what we have is not the beginning of that file: start over
        os.replace(self._part, output_file)

    def _receive(self, url: str) -> bool:
        """Append the missing bytes to the part; False if what we have does not fit to what the server has."""
        have = self._part.stat().st_size if self._part.exists() else 0
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
            got = self._copy(response, have, total)
        if total is not None and got != total:
            raise ConnectionError(f"the connection broke after {got} of {total} bytes")
        return True

    def _copy(self, response: http.client.HTTPResponse, have: int, total: int | None) -> int:
        """Copy the body behind the first `have` bytes of the part; return the size of the part."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=Console(stderr=True), disable=not self._progress)
        with bar, self._part.open("ab" if have else "wb") as file:
            task = bar.add_task(self._part.stem, total=total, completed=have)
            while block := response.read(_CHUNK):
                file.write(block)
                have += len(block)
                bar.update(task, completed=have)
        return have
