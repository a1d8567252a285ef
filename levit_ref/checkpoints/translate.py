"""The door: states of other implementations come in, and ours go out, under their names."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref._suggest import did_you_mean
from levit_ref.checkpoints.files import CheckpointError, read_tensors
from levit_ref.checkpoints.formats import FORMATS, native
from levit_ref.nn import LeViT, LeViTConfig, StemConv
from levit_ref.ops import position_bias_index

State = Mapping[str, npt.NDArray[Any]]

STORED_INDEX = ".attention_bias_idxs"
"""Ending of the index tables that the official code stores with the biases they index."""


def load_weights(path: str | os.PathLike[str], model: LeViT) -> None:
    """Read the weights of another implementation (timm, the official code, transformers) into ``model``.

    Parameters
    ----------
    path : path-like
        A safetensors file in one of the formats of :mod:`levit_ref.checkpoints.formats`.
    model : LeViT
        Of the same variant and number of classes; changed in place, or not at all if anything does not fit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged or does not fit; the message starts with the file.
    """
    try:
        model.load_state_dict(from_format(read_tensors(path), model.config))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def detect_format(names: Iterable[str]) -> str:
    """Which of :data:`levit_ref.checkpoints.FORMATS` has these names.

    Raises
    ------
    ValueError
        If none has, or they are a mixture.
    """
    names = list(names)
    found = [name for name, module in FORMATS.items() if module.recognises(names)]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(names[:3]) or "no names at all"
    what = f"a mixture of {' and '.join(found)}" if found else f"of no known format ({', '.join(FORMATS)})"
    raise ValueError(f"these names are {what}: {shown}{', ...' if len(names) > 3 else ''}")


def from_format(
    state: Mapping[str, Any], config: LeViTConfig, format: str | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Translate a state into this package's names, which are those of timm.

    Parameters
    ----------
    state : mapping of str to ndarray
        Under the names of ``format``; the official files hold it under the key ``model``, which is unwrapped. Weights
        of 1x1 convolutions, (C_out, C_in, 1, 1), become those of linear layers, (C_out, C_in).
    config : LeViTConfig
        The variant that the state is of.
    format : str, optional
        One of :data:`levit_ref.checkpoints.FORMATS`; detected when not given.

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
    format = detect_format(state) if format is None else _check_format(format)
    arrays = {}
    for name, array in state.items():
        if name.endswith(STORED_INDEX):
            _check_index(name, np.asarray(array))
        elif format != "native" or native.recognises([name]):  # not an optimiser's
            arrays[name] = np.asarray(array)
    ours = {FORMATS[format].name_of(name, config): name for name in names_of(config)}
    _check_names(arrays, ours, f"the state does not fit {config.name} in the names of {format}")
    return {name: _as_linear(name, arrays[theirs]) for theirs, name in ours.items()}


def to_format(state: State, config: LeViTConfig, format: str) -> dict[str, npt.NDArray[Any]]:
    """Translate a state of this package into another implementation's names; the inverse of :func:`from_format`.

    For "official" the index tables are added, since its ``load_state_dict`` demands them.
    """
    name_of = FORMATS[_check_format(format)].name_of
    names = names_of(config)
    _check_names(state, names, f"the state does not fit {config.name}")
    translated = {name_of(name, config): state[name] for name in names}
    if format == "official":
        for name in names:
            if name.endswith(".attention_biases"):
                # ours alone tells the shrinking attention, where queries sit on every second token
                stride = 2 if ".downsample." in name else 1
                side = _side(name, state[name].shape[1])
                index = position_bias_index((side, side), stride)
                translated[name_of(name, config).removesuffix(".attention_biases") + STORED_INDEX] = index
    return translated


def names_of(config: LeViTConfig) -> list[str]:
    """Every array of a model, by its name in this package, in the order of the network.

    Raises
    ------
    ValueError
        For an ablation that other implementations cannot express: layer normalisation, position embeddings.
    """
    if config.norm != "batch" or config.position != "attention_bias":
        raise ValueError(
            f"{config.name} has norm={config.norm!r} and position={config.position!r}; "
            f"other implementations have names for batch normalisation and attention biases only"
        )
    stages = len(config.embed_dims)
    thin = replace(  # the same network, one channel wide: names do not depend on sizes
        config,
        embed_dims=(1,) * stages,
        key_dim=1,
        num_heads=(1,) * stages,
        downsample_heads=(1,) * (stages - 1),
        stem=(StemConv(1, kernel_size=1, stride=1, padding=0),) * len(config.stem),
        attn_ratio=1,
        mlp_ratio=1,
        downsample_attn_ratio=1,
        downsample_mlp_ratio=1,
    )
    return list(LeViT(thin, num_classes=1, image_size=1, seed=None).state_dict())


def _unwrap(state: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = state.get("model")
    return inner if isinstance(inner, Mapping) else state


def _check_format(format: str) -> str:
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {format!r}{did_you_mean(format, FORMATS)}")
    return format


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
        lines.append(f"unknown: {name}{did_you_mean(name, expected, n=1)}")
    shown = lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])
    raise ValueError(f"{what}, {len(missing)} names missing and {len(unknown)} unknown:\n  " + "\n  ".join(shown))
