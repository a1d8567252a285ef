"""Reading files out of folders and archives, and refusing archives that are damaged or hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from levit_ref.files import FileError, read_files
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


def sparse_header(name: str, size: int) -> bytes:
    """An old GNU sparse member without any data, of `size` bytes when it is read."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0" % size + b"%011o\0" % 0  # one chunk of no bytes, at the end
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def claimed_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def pax_header(record: bytes) -> bytes:
    body = b"%d %s\n" % (len(record) + 4, record)
    assert len(body) == len(record) + 4
    return claimed_header("pax", len(body), tarfile.XHDTYPE) + body + bytes(-len(body) % 512)


@pytest.mark.parametrize("name", ["folder/a", "folder/nobody asked for it"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_sparse_member_is_refused(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "x.tar").write_bytes(pack(sparse_header(name, 3 << 30) + tar_bytes()))
    with pytest.raises(FileError, match=rf"x\.tar: member '{name}' is sparse: archive refused"):
        read(tmp_path / "x.tar")


@pytest.mark.parametrize(
    "head",
    [
        claimed_header("folder/other", 2**70),
        claimed_header("folder/other", 2**62),
        claimed_header("././@LongLink", 2**70, tarfile.GNUTYPE_LONGNAME),
        claimed_header("././@LongLink", 2**62, tarfile.GNUTYPE_LONGNAME),
        pax_header(b"GNU.sparse.size=inf"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_headers_that_claim_the_impossible(tmp_path: Path, head: bytes, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "x.tar").write_bytes(pack(head + tar_bytes()))
    with pytest.raises(FileError, match=r"x\.tar: not a readable tar archive"):
        read(tmp_path / "x.tar")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(claimed_header("folder/a", 2**40))  # and nothing of it
    with pytest.raises(FileError, match=r"x\.tar:folder/a: has 1099511627776 bytes, more than the 1073741824 that are"):
        read(tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes(tar_bytes())
    (tmp_path / "a").write_bytes(CONTENTS["a"])
    for place, source in ((tmp_path / "x.tar", r"x\.tar:folder/a"), (tmp_path, "a")):
        assert [content for *_, content in read_files(place, ["a"], largest=2500)] == [CONTENTS["a"]]
        with pytest.raises(FileError, match=rf"{source}: has 2500 bytes, more than the 2499 that are read"):
            list(read_files(place, ["a"], largest=2499))


def test_members_that_nobody_asked_for_take_no_memory(tmp_path: Path) -> None:
    head = claimed_header("folder/other", 64 << 20)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(head + bytes(64 << 20) + tar_bytes(), compresslevel=1))
    tracemalloc.start()
    try:
        assert read(tmp_path / "x.tar.gz") == {"a": CONTENTS["a"], "c": CONTENTS["c"]}
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
