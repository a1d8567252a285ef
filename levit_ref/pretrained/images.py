"""From pictures to what a network takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from levit_ref.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

    from levit_ref.checkpoints import ModelMetadata

Picture: TypeAlias = "str | os.PathLike[str] | Image | npt.NDArray[np.uint8]"


def prepare_images(pictures: Picture | Iterable[Picture], about: ModelMetadata) -> npt.NDArray[np.floating[Any]]:
    """Pictures as a model wants them: of its size, and normalised as in its training.

    Each is turned as its EXIF tag says, scaled (bicubic) until it just covers the size, and its centre is cut out.

    Parameters
    ----------
    pictures : path, PIL.Image.Image or ndarray, or several of them
        Of any size and colour mode. Arrays are uint8, (H, W, 3) or grey (H, W), as imaging libraries have them.
    about : ModelMetadata
        From :func:`levit_ref.pretrained_info` or :func:`levit_ref.checkpoints.load_model`: its ``image_size``,
        ``mean``, ``std`` and ``dtype`` count.

    Returns
    -------
    images : ndarray, shape (B, 3, H, W)
        ``(pixel / 255 - mean) / std`` for each channel. One picture gives B = 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If something is no picture, or an array is not of uint8.
    ValueError
        If a file cannot be read as a picture, an array has another shape, or there is no picture at all.

    Notes
    -----
    :func:`levit_ref.preprocessing.read_picture` returns the pixels before the normalisation, uint8 (3, H, W); the
    figures of :mod:`levit_ref.inspection` are drawn on them.

    Examples
    --------
    >>> import levit_ref, numpy as np
    >>> about = levit_ref.pretrained_info("levit_1m_32px-cifar10")
    >>> grey = np.full((48, 64, 3), 128, np.uint8)
    >>> images = levit_ref.prepare_images([grey, grey], about)
    >>> images.shape
    (2, 3, 32, 32)
    >>> bool(np.allclose(images[0, 0], (128 / 255 - about.mean[0]) / about.std[0]))
    True
    """
    from levit_ref.data import normalise  # here: import levit_ref need not wait for it

    several: list[Any] = [pictures] if _is_one(pictures) else list(pictures)  # type: ignore[arg-type]
    if not several:
        raise ValueError("pictures: there is none")
    pixels = np.stack([Preprocessing(about.image_size).pixels(picture) for picture in several])  # (B, 3, H, W)
    return normalise(pixels, about.mean, about.std).astype(about.dtype, copy=False)


def _is_one(pictures: Any) -> bool:
    if isinstance(pictures, np.ndarray):
        return pictures.ndim < 4
    return isinstance(pictures, str | os.PathLike) or not isinstance(pictures, Iterable)
