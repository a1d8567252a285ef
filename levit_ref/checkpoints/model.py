"""A model in a file: its arrays, the configuration to rebuild it, and what is needed to classify pictures with it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref.checkpoints.files import CheckpointError, read_file, read_tensors, write_file
from levit_ref.checkpoints.names import to_timm
from levit_ref.nn import LeViT, LeViTConfig

FORMAT_VERSION = 1
PREFIX = "model."
"""Start of the names of a model's arrays in a file, which may hold an optimiser's as well."""


@dataclass(frozen=True)
class ModelMetadata:
    """What a model file says about the model.

    Attributes
    ----------
    config : dict
        Of the variant, from ``LeViTConfig.to_dict()``.
    num_classes : int
    image_size : (int, int)
        Rows and columns.
    dtype : str
        "float32" or "float64".
    class_names : tuple of str
        In the order of the logits; empty if unknown.
    mean, std : tuple of float
        Normalisation of the channels, ``(pixel / 255 - mean) / std``.
    dataset : str
        What it was trained on; empty if unknown.
    accuracy : float or None
        On the test pictures of that dataset, between 0 and 1.
    training : dict
        How it was trained, as far as somebody wrote it down (the models that come with the package have it): the
        ``commands``, the ``version`` and more.
    format_version : int
    """

    config: dict[str, Any]
    num_classes: int
    image_size: tuple[int, int]
    dtype: str
    class_names: tuple[str, ...] = ()
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dataset: str = ""
    accuracy: float | None = None
    training: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        for name in ("image_size", "class_names", "mean", "std"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.num_classes} classes")


def pack_model(model: LeViT, **about: Any) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays and the metadata of a model, as they go into a file.

    Parameters
    ----------
    model : LeViT
    **about
        The fields of :class:`ModelMetadata` that a model does not know of itself: ``class_names``, ``mean``,
        ``std``, ``dataset``, ``accuracy``, ``training``.
    """
    metadata = ModelMetadata(
        config=model.config.to_dict(),
        num_classes=model.num_classes,
        image_size=model.image_size,
        dtype=str(model.dtype),
        **about,
    )
    tensors = {PREFIX + name: array for name, array in model.state_dict().items()}
    return tensors, dataclasses.asdict(metadata)


def unpack_model(
    tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any], source: str
) -> tuple[LeViT, ModelMetadata]:
    """Build the model that :func:`pack_model` took apart; ``source`` starts the error messages."""
    about = _about(metadata, source)
    try:
        config = LeViTConfig.from_dict(about.config)
        model = LeViT(config, num_classes=about.num_classes, image_size=about.image_size, dtype=np.dtype(about.dtype))
        model.load_state_dict({n.removeprefix(PREFIX): a for n, a in tensors.items() if n.startswith(PREFIX)})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error
    return model, about


def save_model(path: str | os.PathLike[str], model: LeViT, *, half: bool = False, **about: Any) -> None:
    """Write a model to a file, atomically.

    Parameters
    ----------
    path : path-like
    model : LeViT
    half : bool
        Whether to store matrices, filters and tables of position biases as float16, which halves the file. Arrays
        with one axis or none (norms, biases, running statistics) are few numbers, some of them of a wide range, and
        stay as they are. :func:`load_model` gives the model in its own dtype again, with the rounded numbers.
        By default every float keeps its bits.
    **about
        ``class_names``, ``mean``, ``std``, ``dataset``, ``accuracy``, ``training``, see :class:`ModelMetadata`.

    Raises
    ------
    ValueError
        With ``half``, if a number is too large for float16.
    """
    tensors, metadata = pack_model(model, **about)
    if half:
        tensors = {name: _half(name, array) if array.ndim > 1 else array for name, array in tensors.items()}
    write_file(path, tensors, {"model": metadata})


def load_model(path: str | os.PathLike[str]) -> tuple[LeViT, ModelMetadata]:
    """Read a model that :func:`save_model` or a training run (best or last checkpoint) wrote.

    Returns
    -------
    model : LeViT
        In training mode, as every new model.
    metadata : ModelMetadata

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged or no model of this package; the message starts with the file.
    """
    tensors, metadata = _read(path)
    return unpack_model(tensors, metadata, str(path))


def load_metadata(path: str | os.PathLike[str]) -> ModelMetadata:
    """What a model file says about the model; errors as in :func:`load_model`."""
    return _about(_read(path)[1], str(path))


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


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays of a file, and the part of its metadata that is a model's."""
    tensors, metadata = read_file(path)
    if not isinstance(metadata.get("model"), dict):
        raise CheckpointError(f"{path}: holds no model")
    return tensors, metadata["model"]


def _about(metadata: Mapping[str, Any], source: str) -> ModelMetadata:
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{source}: format version {version}, this version of levit_ref reads {FORMAT_VERSION}")
    try:
        return ModelMetadata(**metadata)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def _half(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    largest, end = float(np.abs(array).max(initial=0)), float(np.finfo(np.float16).max)
    if np.isfinite(largest) and largest > end:
        raise ValueError(f"{name} has a number of size {largest:g}; float16 ends at {end:g}")
    return array.astype(np.float16)
