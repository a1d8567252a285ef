"""Checkpoint files: bits in, the same bits out, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from safetensors.numpy import save_file

from levit_ref.checkpoints import CheckpointError, read_file, read_header, read_tensors, write_file


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_keep_every_bit(tmp_path, dtype):
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    bits = np.random.default_rng(0).integers(0, np.iinfo(unsigned).max, 1000, dtype=unsigned)
    values = bits.view(dtype)  # NaNs with payloads, denormals and infinities among them
    write_file(tmp_path / "a.safetensors", {"x": values}, {})
    back = read_file(tmp_path / "a.safetensors")[0]["x"]
    assert back.dtype == dtype and back.tobytes() == values.tobytes()


def test_layouts_shapes_and_integers(tmp_path):
    tensors = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "every second": np.arange(10.0)[::2],
        "scalar": np.array(7),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False]),
    }
    write_file(tmp_path / "a.safetensors", tensors, {"x": [1, None, "é"], "y": 0.1})
    back, metadata = read_file(tmp_path / "a.safetensors")
    assert metadata == {"x": [1, None, "é"], "y": 0.1}
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype and back[name].flags.writeable


def test_the_same_content_is_the_same_file(tmp_path):
    for name in "ab":
        write_file(tmp_path / name, {"y": np.ones(3), "x": np.zeros(2)}, {"m": 1, "k": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_cut_is_noticed_and_the_file_named(tmp_path):
    path = tmp_path / "whole.safetensors"
    write_file(path, {"x": np.arange(100.0)}, {"a": 1})
    content = path.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [0, 3, 8, 40, 200, len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors: not a safetensors file, or one that was cut"):
            read_file(cut)


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors: no such checkpoint file"):
        read_file(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_file(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes about checkpoints")
    with pytest.raises(CheckpointError, match=r"notes\.txt: not a safetensors file"):
        read_file(text)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": np.ones(2)}, foreign)
    with pytest.raises(CheckpointError, match="without the metadata of a levit_ref checkpoint"):
        read_file(foreign)
    assert read_tensors(foreign)["x"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "is a JSON list, expected an object"),
        ("[" * 100_000, r"a\.safetensors: the metadata is not JSON, or is damaged"),
        ("1" * 5000, r"a\.safetensors: the metadata is not JSON, or is damaged"),
    ],
)
def test_damaged_metadata(tmp_path, document, message):
    save_file({"x": np.ones(2)}, tmp_path / "a.safetensors", metadata={"levit_ref": document})
    for function in read_file, read_header:
        with pytest.raises(CheckpointError, match=message):
            function(tmp_path / "a.safetensors")


def test_dtypes_that_numpy_does_not_have_are_named(tmp_path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match=r"a\.safetensors: holds an array that NumPy cannot represent.*bfloat16"):
        read_tensors(tmp_path / "a.safetensors")


def test_objects_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(TypeError, match="names has dtype <U1"):
        write_file(tmp_path / "a.safetensors", {"names": np.array(["a"])}, {})
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        write_file(tmp_path / "nowhere" / "a.safetensors", {}, {})


def test_a_process_killed_before_the_rename_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_file(path, {"x": np.zeros(3)}, {"version": "old"})
    code = """
        import os, signal, sys
        import numpy as np
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        from levit_ref.checkpoints import write_file
        write_file(sys.argv[1], {"x": np.ones(3)}, {"version": "new"})
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=False)
    assert run.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2  # the temporary file of the dead process lies about
    assert read_file(path)[1] == {"version": "old"}
    write_file(path, {"x": np.ones(3)}, {"version": "new"})
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert read_file(path)[1] == {"version": "new"}


def test_the_header_has_metadata_and_shapes(tmp_path):
    write_file(tmp_path / "a.safetensors", {"x": np.zeros((2, 3)), "y": np.array(1)}, {"a": [1]})
    header = read_header(tmp_path / "a.safetensors")
    assert header.metadata == {"a": [1]}
    assert header.shapes == {"x": (2, 3), "y": ()}


def test_only_the_arrays_of_a_prefix(tmp_path):
    write_file(tmp_path / "a.safetensors", {"m.x": np.ones(1), "o.x": np.zeros(1)}, {})
    assert list(read_tensors(tmp_path / "a.safetensors", "m.")) == ["m.x"]
