"""The door: states of other implementations come in, and ours go out, under their names."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref.checkpoints.files import CheckpointError, read_tensors
from levit_ref.checkpoints.schemes import SCHEMES, all_names
from levit_ref.nn import LeViT, LeViTConfig
from levit_ref.ops import position_bias_index

State = Mapping[str, npt.NDArray[Any]]

STORED_INDEX = ".attention_bias_idxs"
"""Ending of the index tables that the official code stores beside the biases they index."""

_MARKS = {
    "timm": ("stem.", "stages."),
    "fb": ("patch_embed.", "blocks."),
    "hf": ("levit.patch_embeddings.", "levit.encoder."),
}


def detect_scheme(keys: Iterable[str]) -> str:
    """Which implementation's names these are: "timm" (this package's too), "fb" or "hf".

    Raises
    ------
    ValueError
        If they are none of the three, or a mixture.
    """
    names = list(keys)
    found = [scheme for scheme in SCHEMES if any(name.startswith(_MARKS[scheme]) for name in names)]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(names[:3]) or "no names at all"
    what = f"a mixture of {' and '.join(found)}" if found else "of no known scheme (timm, fb, hf)"
    raise ValueError(f"these names are {what}: {shown}{', ...' if len(names) > 3 else ''}")


def to_timm(state: Mapping[str, Any], config: LeViTConfig, scheme: str | None = None) -> dict[str, npt.NDArray[Any]]:
    """Translate a state into this package's names (those of timm).

    Parameters
    ----------
    state : mapping of str to ndarray
        Under the names of ``scheme``; the official files hold it under the key ``model``, which is unwrapped. Weights
        of 1x1 convolutions, (C_out, C_in, 1, 1), become those of linear layers, (C_out, C_in).
    config : LeViTConfig
        The variant that the state is of.
    scheme : {"timm", "fb", "hf"}, optional
        Detected when not given.

    Returns
    -------
    state : dict of str to ndarray
        Complete, in the order of this package.

    Raises
    ------
    ValueError
        If names are missing or unknown (a list, with the nearest names), or a stored index table is not the one
        that the biases are meant for.
    """
    state = _unwrap(state)
    scheme = detect_scheme(state) if scheme is None else _check_scheme(scheme)
    arrays = {}
    for name, array in state.items():
        if name.endswith(STORED_INDEX):
            _check_index(name, np.asarray(array))
        else:
            arrays[name] = np.asarray(array)
    ours = {getattr(names, scheme): names.timm for names in all_names(config)}
    _check_names(arrays, ours, f"the state does not fit {config.name} in the names of {scheme}")
    return {name: _as_linear(name, arrays[theirs]) for theirs, name in ours.items()}


def from_timm(state: State, config: LeViTConfig, scheme: str) -> dict[str, npt.NDArray[Any]]:
    """Translate a state of this package into another implementation's names; the inverse of :func:`to_timm`.

    For "fb" the index tables are added, since the official ``load_state_dict`` demands them.
    """
    _check_scheme(scheme)
    table = all_names(config)
    _check_names(state, [names.timm for names in table], f"the state does not fit {config.name}")
    translated = {getattr(names, scheme): state[names.timm] for names in table}
    if scheme == "fb":
        for names in table:
            if names.fb.endswith(".attention_biases"):
                # ours alone tells the shrinking attention, where queries sit on every second token
                stride = 2 if ".downsample." in names.timm else 1
                side = _side(names.timm, state[names.timm].shape[1])
                index = position_bias_index((side, side), stride)
                translated[names.fb.removesuffix(".attention_biases") + STORED_INDEX] = index
    return translated


def _unwrap(state: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = state.get("model")
    return inner if isinstance(inner, Mapping) else state


def _check_scheme(scheme: str) -> str:
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}; got {scheme!r}")
    return scheme


def _as_linear(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A 1x1 convolution outside of the stem, whose convolutions stay convolutions, is a linear layer."""
    if array.ndim == 4 and array.shape[2:] == (1, 1) and not name.startswith("stem."):
        return array[:, :, 0, 0]
    return array


def _side(name: str, count: int) -> int:
    """Side of the square map that ``count`` tokens make up: the official code knows no other maps."""
    side = math.isqrt(count)
    if side * side != count:
        raise ValueError(f"{name}: {count} positions are no square; the official code has square maps only")
    return side


def _check_index(name: str, stored: npt.NDArray[Any]) -> None:
    """Raise unless a stored table is what we compute: biases learned under another numbering would be nonsense here."""
    if stored.ndim != 2:
        raise ValueError(f"{name}: an index table has two axes (queries, keys), got shape {stored.shape}")
    queries, keys = stored.shape
    side, side_queries = _side(name, keys), _side(name, queries)
    stride = 1 if side_queries == side else 2
    computed = position_bias_index((side, side), stride)  # (queries, keys)
    if computed.shape != stored.shape or not np.array_equal(computed, stored):
        raise ValueError(f"{name}: the stored index table is not |dy| W + |dx| at stride {stride}")


def _check_names(given: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raise with a readable list unless both hold the same names."""
    given, expected = dict.fromkeys(given), dict.fromkeys(expected)
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if not missing and not unknown:
        return
    lines = [f"missing: {name}" for name in missing]
    for name in unknown:
        near = difflib.get_close_matches(name, expected, n=1)
        lines.append(f"unknown: {name}" + (f"; did you mean {near[0]}?" if near else ""))
    shown = lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])
    raise ValueError(f"{what}, {len(missing)} names missing and {len(unknown)} unknown:\n  " + "\n  ".join(shown))


def load_weights(path: str | os.PathLike[str], model: LeViT) -> None:
    """Read the weights of another implementation (timm, the official code, transformers) into ``model``.

    Parameters
    ----------
    path : path-like
        A safetensors file under the names of any of the three, see :mod:`levit_ref.checkpoints.names`.
    model : LeViT
        Of the same variant and number of classes; changed in place, or not at all if anything does not fit.
    """
    try:
        model.load_state_dict(to_timm(read_tensors(path), model.config))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
