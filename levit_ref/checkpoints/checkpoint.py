"""A model and what is known about it, as one value: into a file, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref.checkpoints.about import About, check_sizes, from_metadata, shown, to_metadata
from levit_ref.checkpoints.files import CheckpointError, Header, read_header, read_tensors, write_file
from levit_ref.checkpoints.formats.native import PREFIX
from levit_ref.checkpoints.sources import located
from levit_ref.nn import LeViT
from levit_ref.preprocessing import Preprocessing
from levit_ref.pretrained import pretrained_file


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model, and what is needed to use it.

    Attributes
    ----------
    model : LeViT
    about : About
        Its ``config``, ``num_classes`` and ``dtype`` are the model's: they are filled in here.

    Raises
    ------
    ValueError
        If ``about`` is of another model: other pictures, another number of classes.

    Examples
    --------
    >>> from levit_ref import About, Checkpoint, Preprocessing, create_model
    >>> model = create_model("levit_250k_32px", num_classes=2)
    >>> checkpoint = Checkpoint(model, About(Preprocessing((32, 32)), class_names=("cat", "dog")))
    >>> checkpoint.about.num_classes, checkpoint.about.name_of(1)
    (2, 'dog')
    """

    model: LeViT
    about: About

    def __post_init__(self) -> None:
        model, about = self.model, self.about
        if not isinstance(model, LeViT):
            raise TypeError(f"Checkpoint: model must be a LeViT, got {shown(model)}")
        if not isinstance(about, About):
            raise TypeError(f"Checkpoint: about must be an About, got {shown(about)}")
        if about.preprocessing.size != model.image_size:
            raise ValueError(
                f"Checkpoint: the preprocessing makes pictures of {about.preprocessing.size}, "
                f"the model takes {model.image_size}"
            )
        known: dict[str, Any] = {
            "config": model.config,
            "num_classes": model.num_classes,
            "dtype": str(model.dtype),
        }
        for name, value in known.items():
            said = getattr(about, name)
            if said and said != value:
                raise ValueError(f"Checkpoint: {name} is {shown(value)} in the model, {shown(said)} in about")
        object.__setattr__(self, "about", replace(about, **known))

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become the model's input: ``about.preprocessing``."""
        return self.about.preprocessing


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str], *, half: bool = False) -> None:
    """Write a model, and what is known about it, to a file, atomically.

    Parameters
    ----------
    checkpoint : Checkpoint
    path : path-like
    half : bool
        Whether to store matrices, filters and tables of position biases as float16, which halves the file. Arrays
        with one axis or none (norms, biases, running statistics) are few numbers, some of them of a wide range, and
        stay as they are. :func:`load_checkpoint` gives the model in its own dtype again, with the rounded numbers.
        By default every float keeps its bits.

    Raises
    ------
    ValueError
        With ``half``, if a number is too large for float16.
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the file cannot be written; one that was there is then as it was.
    """
    tensors, metadata = pack(checkpoint)
    if half:
        tensors = {name: _half(name, array) if array.ndim > 1 else array for name, array in tensors.items()}
    write_file(path, tensors, metadata)


def load_checkpoint(source: str | os.PathLike[str]) -> Checkpoint:
    """Read a trained model, and what is known about it.

    Parameters
    ----------
    source : str or path-like
        The name of a model that comes with the package (:func:`levit_ref.list_pretrained`), else a path: of a file
        that :func:`save_checkpoint` or a training run wrote, or of a run folder, whose best checkpoint is taken, and
        the last one if there is no best.

    Returns
    -------
    checkpoint : Checkpoint
        Its model is in evaluation mode. To train it further, call ``model.train()``.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no checkpoint in the folder.
    ValueError
        If ``source`` looks like a name, and there is no such model; the message names the nearest.
    CheckpointError
        If the file is damaged or holds no model of this package; the message starts with the file.

    Examples
    --------
    >>> import levit_ref
    >>> checkpoint = levit_ref.load_checkpoint("levit_1m_32px-cifar10")
    >>> checkpoint.about.class_names[:3], checkpoint.about.preprocessing.size
    (('airplane', 'automobile', 'bird'), (32, 32))
    """
    with located(source) as path:
        about = _about(read_header(path), str(path))
        return _build(about, read_tensors(path, PREFIX), str(path))


def read_about(source: str | os.PathLike[str]) -> About:
    """What a checkpoint says about its model. Only the start of the file is read, none of the weights.

    Parameters, and what is raised, are those of :func:`load_checkpoint`.

    Examples
    --------
    >>> import levit_ref
    >>> about = levit_ref.read_about("levit_1m_32px-cifar10")
    >>> about.dataset, about.num_classes, about.config.depths
    ('cifar10', 10, (2, 2, 2))
    """
    with located(source) as path:
        return _about(read_header(path), str(path))


def load_pretrained(name: str) -> LeViT:
    """Read a trained model that comes with the package; no network is needed.

    Parameters
    ----------
    name : str
        One of :func:`levit_ref.list_pretrained`.

    Returns
    -------
    model : LeViT
        float32, and in evaluation mode. Every call reads a model of its own.

    Raises
    ------
    ValueError
        If there is no such model (the message names the nearest), or, as ``CheckpointError``, if its file is damaged.

    See Also
    --------
    load_checkpoint : the model together with its classes, its preprocessing, and how good it is.

    Examples
    --------
    >>> import levit_ref
    >>> model = levit_ref.load_pretrained("levit_1m_32px-cifar10")
    >>> model.training
    False
    """
    with pretrained_file(name) as path:
        return load_checkpoint(path).model


def pack(checkpoint: Checkpoint) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays and the metadata of a checkpoint, as :func:`~levit_ref.checkpoints.write_file` takes them.

    Returns
    -------
    tensors : dict of str to ndarray
        Copies, under names that start with ``"model."``: a file may hold other arrays as well.
    metadata : dict
        With one key, ``"model"``.
    """
    tensors = {PREFIX + name: array for name, array in checkpoint.model.state_dict().items()}
    return tensors, {"model": to_metadata(checkpoint.about)}


def unpack(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any], source: str) -> Checkpoint:
    """Build the checkpoint that :func:`pack` took apart.

    Parameters
    ----------
    tensors, metadata
        From :func:`~levit_ref.checkpoints.read_file`. What is not the model's is left alone.
    source : str
        The file, which starts every message.

    Raises
    ------
    CheckpointError
        If they do not make up a model.
    """
    about = _about(Header(dict(metadata), {name: array.shape for name, array in tensors.items()}), source)
    return _build(about, tensors, source)


def _about(header: Header, source: str) -> About:
    about = from_metadata(header.metadata.get("model"), source)
    shapes = {name.removeprefix(PREFIX): shape for name, shape in header.shapes.items() if name.startswith(PREFIX)}
    check_sizes(about, shapes, source)
    return about


def _build(about: About, tensors: Mapping[str, npt.NDArray[Any]], source: str) -> Checkpoint:
    """A model without weights, in evaluation mode, and then its weights."""
    assert about.config is not None
    state = {name.removeprefix(PREFIX): array for name, array in tensors.items() if name.startswith(PREFIX)}
    for name, array in state.items():
        if array.dtype.kind != ("i" if name.endswith(".num_batches_tracked") else "f"):
            raise CheckpointError(f"{source}: {name} has dtype {array.dtype}")
    try:
        model = LeViT(
            about.config,
            num_classes=about.num_classes,
            image_size=about.preprocessing.size,
            seed=None,
            dtype=np.dtype(about.dtype),
        )
        model.load_state_dict(state)
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}") from error
    return Checkpoint(model.eval(), about)


def _half(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    largest, end = float(np.abs(array).max(initial=0)), float(np.finfo(np.float16).max)
    if np.isfinite(largest) and largest > end:
        raise ValueError(f"{name} has a number of size {largest:g}; float16 ends at {end:g}")
    return array.astype(np.float16)
