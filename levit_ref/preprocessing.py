"""From a picture to the network's input: its size, its crop, and the normalisation of its colours.

A :class:`Preprocessing` says how the pictures were prepared that a model was trained on. It is stored with the
model in every checkpoint, and everything that classifies pictures takes it from there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from levit_ref import functional as F
from levit_ref.files import FileError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | Image | npt.NDArray[np.uint8]"
"""A path, a PIL image, or a uint8 array (H, W, 3) or (H, W)."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
"""How pictures may be scaled; the names are Pillow's."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a picture file may hold, whatever its name says; the names are Pillow's. Others (EPS) would start a program."""


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the input of a network.

    A picture is turned as its EXIF tag says, scaled until it just covers ``size / crop_fraction``, and its centre, of
    ``size``, is cut out. Then each channel becomes ``(pixel / 255 - mean) / std``.

    Attributes
    ----------
    size : (int, int)
        Rows and columns.
    mean, std : (float, float, float)
        For red, green and blue, of pixels between 0 and 1.
    crop_fraction : float
        Share of the scaled picture's rows and columns that is kept, above 0 and at most 1.
    interpolation : str
        One of :data:`INTERPOLATIONS`.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop_fraction: float = 1.0
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size, "size"))
        for name in "mean", "std":
            values = getattr(self, name)
            if not isinstance(values, list | tuple) or len(values) != 3 or not all(map(_is_number, values)):
                raise ValueError(f"{name} must be three finite numbers, got {values!r}")
            object.__setattr__(self, name, tuple(map(float, values)))  # JSON gives lists
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be positive, got {self.std}")
        if not (_is_number(self.crop_fraction) and 0 < self.crop_fraction <= 1):
            raise ValueError(f"crop_fraction must be above 0 and at most 1, got {self.crop_fraction!r}")
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise ValueError(f"interpolation must be one of {known}, got {self.interpolation!r}")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The preprocessing that ``dataclasses.asdict`` made ``data`` of, also after a way through JSON.

        Raises
        ------
        ValueError
            If a field is missing, unknown or out of range; the message names it.
        """
        known = {f.name for f in fields(cls)}
        for name in sorted(known ^ data.keys()):
            raise ValueError(f"{'unknown' if name not in known else 'missing'} field {name}")
        return cls(**data)

    def pixels(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """One picture at the network's size, before the normalisation: uint8 (3, H, W)."""
        from PIL import Image, ImageOps

        if isinstance(picture, str | os.PathLike):
            return read_picture(picture, self)
        if isinstance(picture, np.ndarray):
            picture = _from_array(picture)
        if not isinstance(picture, Image.Image):
            raise TypeError(f"pictures must be paths, PIL images or arrays, got {type(picture).__name__}")
        return fit(ImageOps.exif_transpose(picture), self)

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Pixels (B, 3, H, W) as the network wants them, float32."""
        return F.normalise(pixels, self.mean, self.std)


class KnowsPreprocessing(Protocol):
    """A checkpoint, or what is known about one."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become the model's input."""


def preprocessing_of(preprocessing: Preprocessing | KnowsPreprocessing) -> Preprocessing:
    """The preprocessing itself, given it or something that carries it.

    Raises
    ------
    TypeError
        If it is neither.
    """
    found = getattr(preprocessing, "preprocessing", preprocessing)
    if not isinstance(found, Preprocessing):
        raise TypeError(
            f"preprocessing must be a Preprocessing, an About or a Checkpoint, got {type(preprocessing).__name__}"
        )
    return found


def prepare_images(
    pictures: Picture | Iterable[Picture], preprocessing: Preprocessing | KnowsPreprocessing
) -> npt.NDArray[np.float32]:
    """Pictures as a network wants them.

    Parameters
    ----------
    pictures : path, PIL.Image.Image or ndarray, or several of them
        Of any size and colour mode. Arrays are uint8, (H, W, 3) or grey (H, W), as imaging libraries have them.
    preprocessing : Preprocessing, About or Checkpoint
        Of the model: the checkpoint itself, or something that carries its preprocessing.

    Returns
    -------
    images : ndarray of float32, shape (B, 3, H, W)
        One picture gives B = 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If something is no picture, or an array is not uint8.
    ValueError
        If a file cannot be read as a picture, an array has another shape, or there is no picture at all.

    Examples
    --------
    >>> grey = np.full((48, 64, 3), 128, np.uint8)
    >>> images = prepare_images([grey, grey], Preprocessing((32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
    >>> images.shape
    (2, 3, 32, 32)
    >>> bool(np.allclose(images, (128 / 255 - 0.5) / 0.25, atol=1e-6))
    True
    """
    how, several = preprocessing_of(preprocessing), as_list(pictures)
    return how.normalise(np.stack([how.pixels(picture) for picture in several]))


def as_list(pictures: Picture | Iterable[Picture]) -> list[Picture]:
    """One picture or several as a list.

    Raises
    ------
    ValueError
        If there is none.
    """
    several: list[Any] = [pictures] if _is_one(pictures) else list(pictures)  # type: ignore[arg-type]
    if not several:
        raise ValueError("pictures: there is none")
    return several


def read_picture(path: str | os.PathLike[str], preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode one picture file, turned as its EXIF tag says, to uint8 (3, H, W).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        If the file is not a picture, or is damaged; the message starts with its path.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as picture:
            return fit(ImageOps.exif_transpose(picture), preprocessing)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can fail inside any decoder, with any exception
        raise FileError(f"{os.fspath(path)}: cannot be read as a picture ({error})") from error


def fit(picture: Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """A picture of any mode and size as RGB, uint8 (3, H, W): scaled, and its centre cut out."""
    from PIL import Image

    height, width = preprocessing.size
    fitted = as_rgb(picture)
    if preprocessing.crop_fraction != 1 or fitted.size != (width, height):
        scale = max(width / fitted.width, height / fitted.height) / preprocessing.crop_fraction
        across, down = width / scale, height / scale  # of the frame that is kept, in pixels of the picture
        left, top = (fitted.width - across) / 2, (fitted.height - down) / 2
        method = Image.Resampling[preprocessing.interpolation.upper()]
        fitted = fitted.resize((width, height), method, box=(left, top, left + across, top + down))
    return np.asarray(fitted, np.uint8).transpose(2, 0, 1)


def as_rgb(picture: Image) -> Image:
    """A picture of any mode as RGB with 8 bits a channel.

    Pillow's own conversion clips 16-bit grey to white and uncovers the colours under transparent pixels. Here 16
    bits are scaled to 8, and transparent pixels are laid on white.

    Raises
    ------
    ValueError
        If the picture holds floating numbers, whose range no file states.
    """
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("the picture holds floating numbers, expected 8 or 16 bits a channel")
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow also reads it into 32 bits
        grey = np.asarray(picture).astype(np.int64)
        return Image.fromarray((grey.clip(0, 65_535) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def as_size(size: int | Sequence[int], name: str = "image_size") -> tuple[int, int]:
    """One number for a square, or (H, W), as (H, W); ``name`` is the argument's for the error message."""
    both = (size, size) if isinstance(size, int) else size
    if (
        not isinstance(both, list | tuple)
        or len(both) != 2
        or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in both)
    ):
        raise ValueError(f"{name} must be a positive number of pixels or (H, W), got {size!r}")
    return both[0], both[1]


def _is_number(value: Any) -> bool:
    """Whether a value is a real number that a float can hold, neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _is_one(pictures: Any) -> bool:
    if isinstance(pictures, np.ndarray):
        return pictures.ndim < 4
    return isinstance(pictures, str | os.PathLike) or not isinstance(pictures, Iterable)


def _from_array(array: npt.NDArray[Any]) -> Image:
    from PIL import Image

    if array.dtype != np.uint8:
        raise TypeError(f"pictures: an array must be of uint8, 0 to 255, got {array.dtype}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or array.size == 0:
        raise ValueError(f"pictures: an array must be (H, W, 3) or (H, W), got {array.shape}")
    return Image.fromarray(array)
