"""The restricted unpickler: arrays in every dialect, and nothing that runs."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levit_ref.files import FileError, load_pickled_dict
from tests.data.cifar_files import python2_dumps

CONTENT = {
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 3072), np.uint8),
    "names": np.array(["a", "bc"]),
    "scalars": [np.int64(3), np.float32(0.5), 7],
    "nested": {"list": [np.ones(2)]},
    "no bytes": b"",
    "raw": b"\xff\x00",
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_every_protocol_of_python_3(protocol: int) -> None:
    blob = pickle.dumps(CONTENT, protocol)
    loaded, expected = load_pickled_dict(blob, "file"), pickle.loads(blob)
    assert list(loaded) == list(CONTENT)
    for key in ("bytes", "fortran", "big endian", "empty", "names"):
        assert type(loaded[key]) is np.ndarray
        np.testing.assert_array_equal(loaded[key], expected[key], strict=True)
    for key in ("scalars", "no bytes", "raw"):
        assert loaded[key] == CONTENT[key]
    np.testing.assert_array_equal(loaded["nested"]["list"][0], np.ones(2))


def test_reads_python_2_files_with_str_keys() -> None:
    blob = python2_dumps({"labels": [3, 1], "data": CONTENT["bytes"], "name": "text"})
    # the real thing: byte strings as Python 2 opcodes, the old name of NumPy's module
    assert {"SHORT_BINSTRING", "GLOBAL"} <= {opcode.name for opcode, _, _ in pickletools.genops(blob)}
    assert b"numpy.core.multiarray" in blob
    loaded = load_pickled_dict(blob, "file")
    assert loaded["labels"] == [3, 1]
    assert loaded["name"] == b"text"
    np.testing.assert_array_equal(loaded["data"], CONTENT["bytes"], strict=True)


def test_reads_python_2_files_of_protocol_0_with_bytes_in_strings() -> None:
    assert load_pickled_dict(b"(dp0\nS'raw'\np1\nS'\\xff\\x00'\np2\ns.", "file") == {"raw": b"\xff\x00"}


class _RunsOnLoad:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "harm"
    blob = pickle.dumps({"data": _RunsOnLoad(os.mkdir, str(target))}, protocol)
    with pytest.raises(FileError, match=r"^evil_batch: refused the global '\w+\.mkdir'"):
        load_pickled_dict(blob, "evil_batch")
    assert not target.exists()
    pickle.loads(blob)  # it is a loaded gun: the plain unpickler fires it
    assert target.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy", "dtype.__setstate__"),
        ("numpy.core.multiarray", "fromfile"),
        ("_codecs", "decode"),
    ],
)
def test_only_the_globals_of_arrays_are_allowed(module: str, name: str) -> None:
    blob = f"c{module}\n{name}\n.".encode()
    with pytest.raises(FileError, match=rf"refused the global '{module}\.{name}'"):
        load_pickled_dict(blob, "file")


def test_object_arrays_are_refused() -> None:
    with pytest.raises(FileError, match=r"^file: refused data type 'O8'"):
        load_pickled_dict(pickle.dumps({"data": np.array([{}, None], dtype=object)}, 4), "file")


def test_structured_types_are_refused() -> None:
    blob = pickle.dumps({"data": np.zeros(2, [("a", "u1"), ("b", "u1")])}, 4)
    with pytest.raises(FileError, match=r"^file: refused data type 'V2'"):
        load_pickled_dict(blob, "file")


def test_a_type_cannot_be_made_structured_afterwards() -> None:
    # REDUCE numpy.dtype("u1"), then BUILD with field names
    blob = b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\nN(S'a'\ntN" + b"I-1\nI-1\nI0\ntb."
    with pytest.raises(FileError, match="structured"):
        load_pickled_dict(blob, "file")


def test_a_constructor_cannot_be_changed() -> None:
    # BUILD on the global itself would, unguarded, set its attributes
    blob = b"cnumpy\nndarray\n}S'x'\nI1\nsb."
    with pytest.raises(FileError, match="refused to change a constructor"):
        load_pickled_dict(blob, "file")


@pytest.mark.parametrize("shape", [(2, 2), (-1, -3), (10**9, 10**9)])
def test_an_array_must_have_the_bytes_that_its_shape_needs(shape: tuple[int, int]) -> None:
    blob = pickle.dumps({"data": np.zeros((1, 3), np.uint8)}, 0)
    old, new = b"(I1\nI3\n", f"(I{shape[0]}\nI{shape[1]}\n".encode()
    assert blob.count(old) == 1
    with pytest.raises(FileError, match="bytes, got 3"):
        load_pickled_dict(blob.replace(old, new), "file")


def test_every_truncation_is_an_error_with_the_name() -> None:
    blob = pickle.dumps(CONTENT, 2)
    for length in range(len(blob)):
        with pytest.raises(FileError, match=r"^data_batch_1: "):
            load_pickled_dict(blob[:length], "data_batch_1")


def test_every_damaged_byte_is_an_error_or_harmless() -> None:
    blob = python2_dumps({"labels": [3, 1], "data": CONTENT["bytes"]})
    for position in range(len(blob)):
        damaged = bytearray(blob)
        damaged[position] ^= 0x15
        try:
            loaded = load_pickled_dict(bytes(damaged), "file")
        except FileError as error:
            assert str(error).startswith("file: ")
        else:
            assert isinstance(loaded, dict)


def test_the_content_must_be_a_dictionary() -> None:
    with pytest.raises(FileError, match="file: holds a list, expected a dictionary"):
        load_pickled_dict(pickle.dumps([1, 2]), "file")
    with pytest.raises(FileError, match="file: expected a string, got int"):
        load_pickled_dict(pickle.dumps({1: 2}), "file")


def array_of(raw: bytes, count: bytes) -> bytes:
    """Instructions that make one array of the type u1 from what `raw` pushes, `count` bytes of it."""
    dtype = b"cnumpy\ndtype\nU\x02u1\x85R"
    return b"cnumpy.core.numeric\n_frombuffer\n(" + raw + dtype + count + b"\x85U\x01CtR"


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"}r" + struct.pack("<I", 2**27) + b".", "refused to number a value 134217728 in a pickle of 9 bytes"),
        (b"}p4294967295\n.", "refused to number a value 4294967295 in a pickle"),
        (
            b"}U\x01x" + array_of(b"c__builtin__\nbytes\nJ\x00\x00\x00\x7f\x85R", b"J\x00\x00\x00\x7f") + b"s.",
            "refused to call bytes with an argument",
        ),
        (
            b"}("
            + b"".join(b"\x8a\x0c" + ((2**61 - 1) * i).to_bytes(12, "little") + b"N" for i in range(1, 20_001))
            + b"u.",
            "refused an integer of more than 64 bits",
        ),
        (b"}U\x01xcnumpy\ndtype\nX" + struct.pack("<I", 400_000) + b"f4,," * 100_000 + b"\x85Rs.", "refused data type"),
    ],
)
def test_a_small_pickle_cannot_take_much_memory_or_time(blob: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=f"^file: {message}"):
            load_pickled_dict(b"\x80\x02" + blob, "file")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_arrays_cannot_be_much_larger_than_the_file() -> None:
    raw = b"T" + struct.pack("<i", 10_000) + bytes(10_000) + b"q\x01"
    once, again = array_of(raw, b"M\x10\x27"), array_of(b"h\x01", b"M\x10\x27")
    assert load_pickled_dict(b"\x80\x02}U\x01x" + once + b"s.", "file")["x"].shape == (10_000,)
    with pytest.raises(FileError, match=r"^file: refused to make arrays that are much larger than the file"):
        load_pickled_dict(b"\x80\x02}U\x01x](" + once + again * 100 + b"es.", "file")


def test_names_in_messages_are_short_and_printable() -> None:
    for name in (b"A" * 1_000_000, b"\x1b]0;owned\x07\x1b[2J"):
        blob = b"\x8c\x02osX" + struct.pack("<I", len(name)) + name + b"\x93."
        with pytest.raises(FileError, match=r"^file: refused the global 'os\.") as caught:
            load_pickled_dict(b"\x80\x04" + blob, "file")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 250
