"""Downloads against a server on this machine: whole, interrupted, wrong, and with no server at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from levit_ref.files import DownloadError, FileError, cache_dir, fetch
from tests.files.server import FileServer, serving

CONTENT = np.random.default_rng(0).bytes(700_001)
MD5 = hashlib.md5(CONTENT).hexdigest()
HASH = f"md5:{MD5}"
NAME = "some.tar.gz"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as running:
        yield running


def get(server: FileServer, folder: Path) -> Path:
    return fetch(f"{server.url}/{NAME}", HASH, folder, progress=False)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_whole_download_and_then_none(server: FileServer, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "on the way"
    for _ in range(2):
        path = get(server, folder)
        assert path == folder / NAME
        assert path.read_bytes() == CONTENT
    assert server.requests == [(f"/kriz/{NAME}", None)]
    assert names(folder) == [NAME]


def test_an_interrupted_download_transfers_only_the_rest(server: FileServer, tmp_path: Path) -> None:
    server.break_after = 300_000
    with pytest.raises(
        DownloadError, match=r"the connection broke after 300000 of 700001 bytes.*300000 bytes are kept"
    ):
        get(server, tmp_path)
    assert names(tmp_path) == [f"{NAME}.part"]
    with pytest.raises(DownloadError, match="broke after 600000 of 700001 bytes"):
        get(server, tmp_path)
    server.break_after = None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-", "bytes=600000-"]
    assert server.sent == [300_000, 300_000, 100_001]
    assert names(tmp_path) == [NAME]


def test_a_server_that_ignores_the_range_sends_everything_again(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    server.honours_range = False
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.sent == [len(CONTENT)]


def test_a_server_that_continues_elsewhere_is_asked_again_for_everything(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    server.range_shift = 7
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None]


def test_a_part_that_is_already_complete(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.sent == []


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_download_with_a_wrong_checksum_is_not_kept(server: FileServer, tmp_path: Path) -> None:
    server.content = b"x" * 1000
    with pytest.raises(FileError, match=rf"^{server.url}/{NAME}: wrong checksum, the download was deleted"):
        get(server, tmp_path)
    assert names(tmp_path) == []
    server.content = CONTENT
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_file_is_found_by_the_checksum(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"y" * 1000)
    with pytest.raises(FileError, match="wrong checksum"):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_that_was_put_into_the_cache_is_left_alone(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"my own")
    with pytest.raises(FileError, match=rf"{NAME}: wrong checksum, md5 is \w+, expected {MD5}; delete the file"):
        get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"my own"
    assert server.requests == []


def test_offline_the_message_says_where_to_put_the_file(server: FileServer, tmp_path: Path) -> None:
    with serving(b"") as gone:
        url = f"{gone.url}/{NAME}"
    by_hand = re.escape(f"put the file from {url} into the folder {tmp_path}")
    with pytest.raises(DownloadError, match=rf"cannot download {url} \(.*refused.*\); .*{by_hand}"):
        fetch(url, HASH, tmp_path, progress=False)
    with pytest.raises(DownloadError, match=rf"{NAME} is not in the cache and downloading is off; .*{by_hand}"):
        fetch(url, HASH, tmp_path, download=False)
    assert names(tmp_path) == []
    (tmp_path / NAME).write_bytes(CONTENT)  # following the advice
    assert fetch(url, HASH, tmp_path) == tmp_path / NAME


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512", "blake2b"])
def test_a_checksum_of_any_kind(server: FileServer, tmp_path: Path, algorithm: str) -> None:
    right = hashlib.new(algorithm, CONTENT).hexdigest()
    for digits in (right, right.upper()):
        folder = tmp_path / digits[:8]
        for _ in range(2):  # downloaded, and found
            path = fetch(f"{server.url}/{NAME}", f"{algorithm}:{digits}", folder, progress=False)
            assert path.read_bytes() == CONTENT
    wrong = f"{algorithm}:{right[:-1]}{'0' if right[-1] != '0' else '1'}"
    with pytest.raises(FileError, match=rf"wrong checksum, {algorithm} is {right}, expected"):
        fetch(f"{server.url}/{NAME}", wrong, folder)
    with pytest.raises(FileError, match=rf"the download was deleted; try again \({algorithm} is {right}, expected"):
        fetch(f"{server.url}/{NAME}", wrong, tmp_path, progress=False)
    assert NAME not in names(tmp_path)


@pytest.mark.parametrize("hash", [MD5, "md5:", "md5:xyz", "md6:00", "shake_128:00", ":00", ""])
def test_a_checksum_that_is_none(server: FileServer, tmp_path: Path, hash: str) -> None:
    with pytest.raises(ValueError, match=f"hash must be an algorithm and a hexadecimal number.*got '{hash}'"):
        fetch(f"{server.url}/{NAME}", hash, tmp_path)
    assert server.requests == []


def test_an_address_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=rf"cannot download somewhere/{NAME} \(unknown url type"):
        fetch(f"somewhere/{NAME}", HASH, tmp_path)


def test_the_progress_bar_goes_to_stderr(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(f"{server.url}/{NAME}", HASH, tmp_path)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert NAME in captured.err


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEVIT_REF_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    monkeypatch.delenv("LEVIT_REF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir().name == "levit_ref"
