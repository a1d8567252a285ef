"""Reading files out of folders and archives, and refusing archives that are damaged or hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from levit_ref.files import FileError
from levit_ref.files.archive import read_files
from tests.data.cifar_files import add_member

CONTENTS = {"a": b"first" * 500, "b": b"", "c": b"third"}


def read(place: Path, names: tuple[str, ...] = ("c", "a")) -> dict[str, bytes]:
    return {name: content for name, _, content in read_files(place, names)}


def tar_bytes(folder: str = "folder/") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in CONTENTS.items():
            add_member(tar, folder + name, content)
    return out.getvalue()


def test_a_folder_and_every_kind_of_archive_give_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    expected = {"a": CONTENTS["a"], "c": CONTENTS["c"]}
    assert read(folder) == expected
    for prefix in ("", "./", "folder/", "./deep/folder/"):
        for name, content in {"x.tar": tar_bytes(prefix), "x.tar.gz": gzip.compress(tar_bytes(prefix))}.items():
            (tmp_path / name).write_bytes(content)
            assert read(tmp_path / name) == expected


def test_the_source_names_the_archive_and_the_member(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes())
    assert [source for _, source, _ in read_files(path, ["b"])] == [f"{path}:folder/b"]


def test_nothing_is_extracted(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes())
    read(tmp_path / "x.tar")
    assert [file.name for file in tmp_path.iterdir()] == ["x.tar"]


def test_missing_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes())
    with pytest.raises(FileError, match=r"x\.tar: d, e missing; expected a, d, e"):
        read(tmp_path / "x.tar", ("a", "d", "e"))
    with pytest.raises(FileNotFoundError, match="d, e missing; expected d, e"):
        read(tmp_path, ("d", "e"))


def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add_member(tar, "one/a", b"1")
        add_member(tar, "two/a", b"2")
    with pytest.raises(FileError, match=r"x\.tar: holds a twice"):
        read(tmp_path / "x.tar", ("a",))


@pytest.mark.parametrize("name", ["../a", "/etc/a", "folder/../../a", "folder/.."])
def test_a_member_that_climbs_out_of_its_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        add_member(tar, "folder/a", b"1")
        add_member(tar, name, b"2")
    with pytest.raises(FileError, match=r"x\.tar\.gz: member '.*' climbs out of its folder"):
        read(path, ("a",))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_a_link_or_a_device(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("folder/a")
    member.type = kind
    member.linkname = "/etc/passwd"
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(FileError, match=r"x\.tar: member 'folder/a' is a link or a device"):
        read(tmp_path / "x.tar", ("a",))


def test_every_truncation_of_a_gzip_archive_is_an_error(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.tar.gz", gzip.compress(tar_bytes())
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"x\.tar\.gz: "):
            read(path)


def test_a_truncated_plain_archive(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.tar", tar_bytes()
    end_of_content = whole.index(CONTENTS["c"]) + len(CONTENTS["c"])
    for length in range(0, end_of_content, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"x\.tar: "):
            read(path)


def test_a_flipped_bit_is_found_by_the_checksum_of_gzip(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(tar_bytes(), compresslevel=0))
    whole[whole.index(b"third")] ^= 1
    (tmp_path / "x.tar.gz").write_bytes(whole)
    with pytest.raises(FileError, match=r"x\.tar\.gz: not a readable tar archive, truncated or damaged \(CRC"):
        read(tmp_path / "x.tar.gz")


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(FileError, match=r"x\.tar\.gz: not a readable tar archive"):
        read(tmp_path / "x.tar.gz")
