"""Read a pickle that holds arrays and plain values, and nothing else.

Unpickling runs whatever the file asks for: a pickle from a stranger is a program. CIFAR comes as pickles, so this
reader knows the few globals that pickled NumPy arrays name, answers each with a checked constructor of its own, and
refuses every other. NumPy's own restoring functions never see the file's bytes: ``numpy.dtype.__setstate__``, for one,
would accept flags that corrupt memory.

Nor may a small file take much memory or time: a look at all its instructions comes first, and the arrays that are made
cannot be much larger than the file.

Both dialects are read: Python 2 (protocol 2, ``str`` is bytes, ``numpy.core``) and Python 3 (protocols 2 to 5,
``numpy._core``).
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from levit_ref.files.errors import FileError

# bool, signed, unsigned, float, bytes, text: no objects ("O"), nothing structured ("V")
_ALLOWED_KINDS = "biufSU"
_BYTE_ORDERS: dict[object, Literal["<", ">"]] = {"<": "<", b"<": "<", ">": ">", b">": ">"}
_LONGEST_DTYPE = 16  # characters
_LARGEST_NUMBER = 1 << 64  # no larger integer: their hashes can be made to collide
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}  # instructions that number a value; the unpickler makes a table that long


def load_pickled_dict(blob: bytes, source: str) -> dict[str, Any]:
    """Unpickle a dictionary of arrays and plain values.

    Parameters
    ----------
    blob : bytes
        The content of the pickle.
    source : str
        Name of the file, for error messages.

    Returns
    -------
    content : dict
        With ``str`` keys, whether the file had ``str`` or ``bytes`` ones. Python 2 strings among the values stay
        ``bytes``.

    Raises
    ------
    FileError
        If the pickle is truncated or damaged, names a global that is not allowed, asks for more memory than its size
        explains, or is not a dictionary.
    """
    try:
        _check_instructions(blob)
        content = _ArrayUnpickler(blob).load()
    except _Refused as error:
        raise FileError(f"{source}: {error}") from None
    except Exception as error:  # a damaged pickle can fail inside any instruction, with any exception
        reason = f"{type(error).__name__}: {_shown(error)}"
        raise FileError(f"{source}: not a readable pickle, truncated or damaged ({reason})") from error
    if not isinstance(content, dict):
        raise FileError(f"{source}: holds a {type(content).__name__}, expected a dictionary")
    return {
        as_text(key, source): value.view(np.ndarray) if isinstance(value, _Array) else value
        for key, value in content.items()
    }


def as_text(value: object, source: str) -> str:
    """A pickled string as ``str``; Python 2 wrote them as bytes.

    Parameters
    ----------
    value : object
    source : str
        Name of the file, for error messages.

    Raises
    ------
    FileError
        If it is no string.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return str(value)
    raise FileError(f"{source}: expected a string, got {type(value).__name__}")


def _check_instructions(blob: bytes) -> None:
    """Refuse instructions that cost much more than their length."""
    for name, argument in _instructions(blob):
        if isinstance(argument, int):
            if name in _MEMO and argument > len(blob):
                raise _Refused(f"refused to number a value {argument} in a pickle of {len(blob)} bytes")
            if abs(argument) > _LARGEST_NUMBER:
                raise _Refused("refused an integer of more than 64 bits")


def _instructions(blob: bytes) -> Iterator[tuple[str, Any]]:
    """Name and argument of each instruction; ``pickletools.genops`` fails at a Python 2 string that is not ASCII."""
    stream = io.BytesIO(blob)
    while code := stream.read(1):
        instruction = pickletools.code2op[code.decode("latin1")]  # type: ignore[attr-defined]  # not in its stub
        if instruction.name == "STRING":
            yield "STRING", stream.readline()
        else:
            yield instruction.name, instruction.arg.reader(stream) if instruction.arg else None
        if instruction.name == "STOP":
            break


def _shown(text: object) -> str:
    """Text of a file for a message: not too long, without control characters."""
    shown = "".join(c if c.isprintable() else "?" for c in str(text)[:100])
    return shown + "..." * (len(str(text)) > 100)


class _Refused(pickle.UnpicklingError):
    """The pickle asks for something that is not an array, a container, a string or a number."""


class _Dtype:
    """A data type under construction: the pickle creates it, then sets its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, spec: object, *_: object) -> None:
        text = spec.decode("ascii") if isinstance(spec, bytes) else spec
        if not isinstance(text, str) or len(text) > _LONGEST_DTYPE:
            raise _Refused(f"refused data type {_shown(spec)!r}: it is no name of a number or string type")
        self.dtype = np.dtype(text)
        if self.dtype.kind not in _ALLOWED_KINDS:
            raise _Refused(f"refused data type {text!r}: only numbers and strings are allowed")

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subarray, names, fields, item size, alignment, flags[, metadata])
        _, order, subarray, names, fields, *_ = state
        if (subarray, names, fields) != (None, None, None):
            raise _Refused("refused a structured data type")
        if order in _BYTE_ORDERS:  # not in it: "|", for types of one byte
            self.dtype = self.dtype.newbyteorder(_BYTE_ORDERS[order])


class _Budget:
    """Bytes that a pickle may still have for its arrays and strings: somewhat more than the file has."""

    def __init__(self, file_size: int) -> None:
        self._left = 3 * file_size + 4096  # an array's bytes may be decoded, copied, and kept

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _Refused("refused to make arrays that are much larger than the file")


class _Array(np.ndarray[Any, Any]):
    """An array under construction: the pickle creates it empty, then sets its content."""

    budget: _Budget

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, raw = state
        content = _from_bytes(self.budget, raw, dtype, shape, "F" if fortran_order else "C")
        checked: Any = (1, content.shape, content.dtype, bool(fortran_order), content.tobytes("A"))
        super().__setstate__(checked)


def _reconstruct(budget: _Budget, *_: object) -> _Array:
    """``numpy.core.multiarray._reconstruct(class, shape, dtype)``: always an empty array, filled later."""
    array = np.ndarray.__new__(_Array, (0,), np.uint8)
    array.budget = budget
    return array


def _from_bytes(budget: _Budget, raw: Any, dtype: Any, shape: Any, order: Any, *_: object) -> NDArray[Any]:
    """``numpy._core.numeric._frombuffer``: an array (of any rank) from its bytes, as protocol 5 stores it."""
    if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray)):
        raise _Refused("refused an array that is not made of a data type and bytes")
    shape = tuple(int(n) for n in shape)
    expected = math.prod(shape) * dtype.dtype.itemsize
    if min(shape, default=0) < 0 or len(raw) != expected:
        raise _Refused(f"an array of shape {shape} and type {dtype.dtype} needs {expected} bytes, got {len(raw)}")
    budget.spend(len(raw))
    return np.ndarray(shape, dtype.dtype, buffer=bytes(raw), order="F" if order == "F" else "C").copy(order="A")


def _scalar(budget: _Budget, dtype: Any, raw: Any = b"") -> Any:
    """``numpy.core.multiarray.scalar``: one number."""
    return _from_bytes(budget, raw, dtype, (), "C")[()]


def _encode(budget: _Budget, text: Any, encoding: Any = "latin1") -> bytes:
    """``_codecs.encode(text, "latin1")``: how Python 3 writes bytes in protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _Refused(f"refused to encode a {type(text).__name__} as {_shown(encoding)!r}")
    budget.spend(len(text))
    return text.encode("latin1")


def _no_bytes(_: _Budget, *arguments: object) -> bytes:
    """``bytes()``: how Python 3 writes ``b""`` in protocol 2."""
    if arguments:
        raise _Refused("refused to call bytes with an argument")
    return b""


def _dtype(_: _Budget, *arguments: Any) -> _Dtype:
    return _Dtype(*arguments)


class _Constructor:
    """What an allowed global becomes: the pickle may call it, but not change it."""

    __slots__ = ("_budget", "_function")

    def __init__(self, function: Callable[..., object], budget: _Budget) -> None:
        self._function, self._budget = function, budget

    def __call__(self, *args: object) -> object:
        return self._function(self._budget, *args)

    def __setstate__(self, state: object) -> None:
        raise _Refused("refused to change a constructor")


def _only_an_argument(*_: object) -> object:
    raise _Refused("refused to call numpy.ndarray")


_ALLOWED_GLOBALS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _only_an_argument,  # the class is only ever an argument of _reconstruct
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED_GLOBALS[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _ALLOWED_GLOBALS[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED_GLOBALS[f"{_core}.numeric", "_frombuffer"] = _from_bytes


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler whose only globals are the constructors above."""

    def __init__(self, blob: bytes) -> None:
        super().__init__(io.BytesIO(blob), fix_imports=False, encoding="bytes")
        self._budget = _Budget(len(blob))

    def find_class(self, module: str, name: str) -> _Constructor:
        function = _ALLOWED_GLOBALS.get((module, name))
        if function is None:
            wanted = _shown(f"{module}.{name}")
            raise _Refused(f"refused the global {wanted!r}: only arrays and plain values are allowed")
        return _Constructor(function, self._budget)
