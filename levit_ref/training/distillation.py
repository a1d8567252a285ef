"""Teachers: where the logits come from that the distillation head learns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from levit_ref.checkpoints import load_checkpoint, read_tensors
from levit_ref.data import Batch
from levit_ref.nn import LeViT
from levit_ref.training.flat import FloatArray


class Teacher(Protocol):
    """Logits for a batch."""

    def __call__(self, batch: Batch) -> FloatArray:
        """Logits (B, K) for the pictures of a training batch."""


class ModelTeacher:
    """A trained model that looks at the same augmented batch as the student, as in the official recipe.

    Parameters
    ----------
    model : LeViT
        Its weights and mode are left alone.
    """

    def __init__(self, model: LeViT) -> None:
        self.model = model

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, num_classes: int, image_size: tuple[int, int]) -> ModelTeacher:
        """Read a checkpoint, and check that it classifies the student's pictures into the student's classes."""
        model = load_checkpoint(path).model
        if (model.num_classes, model.image_size) != (num_classes, image_size):
            raise ValueError(
                f"{path}: the teacher has {model.num_classes} classes and takes {model.image_size} pixels, "
                f"the student {num_classes} and {image_size}"
            )
        return cls(model)

    def __call__(self, batch: Batch) -> FloatArray:
        """What the teacher says of the augmented pictures."""
        with self.model.inference():
            return self.model(batch.images)


class StoredTeacher:
    """Logits computed before, one row for each training picture.

    They belong to the picture, not to its crop: with augmentation the student is told what the teacher saw in the
    whole picture. That is cheap, and close to the truth for crops of a few pixels and flips. Of two pictures mixed by
    mixup or cutmix the logits are mixed in the same shares, which stands in for a picture the teacher never saw.

    Parameters
    ----------
    logits : ndarray, (N, K)
        In the order of the training set.
    """

    def __init__(self, logits: FloatArray) -> None:
        if logits.ndim != 2 or not np.issubdtype(logits.dtype, np.floating):
            raise ValueError(
                f"teacher logits must be floats of shape (N, K), got {logits.dtype} of shape {logits.shape}"
            )
        self.logits = logits

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, num_images: int, num_classes: int) -> StoredTeacher:
        """Read logits (num_images, num_classes) from a ``.npy``, ``.npz`` or ``.safetensors`` file with one array.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it cannot be read, has another shape or holds values that are not finite; the message names the file.
        """
        logits = _read_only_array(Path(path))
        if logits.shape != (num_images, num_classes):
            raise ValueError(
                f"{path}: teacher logits have shape {logits.shape}, expected ({num_images}, {num_classes}): "
                f"one row for each training picture, one column for each class"
            )
        if not np.issubdtype(logits.dtype, np.floating) or not np.isfinite(logits).all():
            raise ValueError(f"{path}: teacher logits must be finite floats, got dtype {logits.dtype}")
        return cls(logits)

    def __call__(self, batch: Batch) -> FloatArray:
        """The stored rows, blended as the pictures are."""
        share = batch.shares[:, None].astype(self.logits.dtype)  # (B, 1)
        logits: FloatArray = share * self.logits[batch.indices] + (1 - share) * self.logits[batch.partners]
        return logits


def _read_only_array(path: Path) -> npt.NDArray[Any]:
    """The one array of a file."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file of teacher logits")
    if path.suffix not in (".npy", ".npz", ".safetensors"):
        raise ValueError(f"{path}: teacher logits are read from .npy, .npz or .safetensors files")
    if path.suffix == ".safetensors":
        arrays = read_tensors(path)
    else:
        try:
            loaded = np.load(path, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        except (EOFError, BadZipFile, OSError, ValueError) as error:
            raise ValueError(f"{path}: not a file of NumPy arrays, or one that was cut short ({error})") from error
    if len(arrays) != 1:
        raise ValueError(f"{path}: holds {len(arrays)} arrays ({', '.join(arrays)}), expected one of logits")
    return next(iter(arrays.values()))
