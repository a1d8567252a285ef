"""The settings of augmentation, as plain data: what `augment` does to the pictures of a batch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

# Mean and standard deviation of each channel over the training pictures, for pixels in [0, 1]
_STATISTICS = {
    "shapes": ((0.5, 0.5, 0.5), (0.2025, 0.2025, 0.2025)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "folder": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # of ImageNet
}


@dataclass(frozen=True)
class Augmentation:
    """What happens to pictures on their way into the network; as it stands by default, nothing random.

    Attributes
    ----------
    mean, std
        For each channel, of pixels in [0, 1]; a pixel p becomes (p / 255 - mean) / std
    crop_padding
        Pixels added on each side before a random crop of the old size; 0 is off
    crop_fill
        What is added: "zero" (black) or "reflect" (the picture mirrored, its edge not repeated)
    flip
        Probability of a left-right flip
    cutout
        Side in pixels of a square that is set to the mean colour, its centre anywhere in the picture; 0 is off
    brightness, contrast, saturation
        Each factor is uniform in [1 - x, 1 + x]; 0 is off
    mixup
        Alpha of the Beta(alpha, alpha) share of the first of two blended pictures; 0 is off
    cutmix
        Alpha of the Beta(alpha, alpha) share that a picture keeps when a box of another is pasted in; 0 is off
    mix_probability
        Probability that a picture is mixed at all, if `mixup` or `cutmix` is on
    cutmix_probability
        Probability that a mixed picture gets cutmix, if both are on

    References
    ----------
    Cutout: DeVries and Taylor 2017.  Mixup: Zhang et al. 2018.  CutMix: Yun et al. 2019.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop_padding: int = 0
    crop_fill: Literal["zero", "reflect"] = "zero"
    flip: float = 0.0
    cutout: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    cutmix_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = tuple(float(x) for x in getattr(self, name))
            if len(values) != 3 or not np.all(np.isfinite(values)) or (name == "std" and min(values) <= 0):
                raise ValueError(f"{name} must be three finite numbers{' above 0' * (name == 'std')}, got {values}")
            object.__setattr__(self, name, values)  # a list from a TOML file becomes a tuple
        for name in ("crop_padding", "cutout"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise ValueError(f"{name} must be a whole number of pixels, at least 0, got {getattr(self, name)!r}")
        for name in ("brightness", "contrast", "saturation", "flip", "mix_probability", "cutmix_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)!r}")
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be 0 or a positive alpha, got {getattr(self, name)!r}")
        if self.crop_fill not in ("zero", "reflect"):
            raise ValueError(f"crop_fill must be 'zero' or 'reflect', got {self.crop_fill!r}")

    @classmethod
    def for_dataset(cls, name: str) -> Augmentation:
        """Return sensible settings for training on the dataset called `name`.

        A flip never changes a label here: each of the `shapes` is its own mirror image, turned.
        """
        if name not in _STATISTICS:
            raise ValueError(f"no dataset is called {name!r}, only {', '.join(_STATISTICS)}")
        mean, std = _STATISTICS[name]
        if name == "shapes":  # they already differ in place and colour
            return cls(mean, std, crop_padding=2, crop_fill="reflect", flip=0.5)
        if name == "folder":
            return cls(mean, std, flip=0.5, brightness=0.3, contrast=0.3, saturation=0.3)
        return cls(mean, std, crop_padding=4, crop_fill="reflect", flip=0.5)  # cutout pays in long runs

    def without_randomness(self) -> Augmentation:
        """Return the settings for evaluation: the same normalisation and nothing else."""
        return Augmentation(self.mean, self.std)

    @property
    def is_random(self) -> bool:
        """Whether any random change is on."""
        off = Augmentation()
        switches = ("crop_padding", "flip", "cutout", "brightness", "contrast", "saturation", "mixup", "cutmix")
        return any(getattr(self, f.name) != getattr(off, f.name) for f in fields(self) if f.name in switches)
