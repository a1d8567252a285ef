"""The settings of augmentation, as plain data: the random changes to the pictures of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from levit_ref.settings import fill_in, setting

PANEL = "Augmentation"


@dataclass(frozen=True)
class Augmentation:
    """Random changes to pictures on their way into the network; by default there are none.

    Attributes
    ----------
    crop_padding : int
        Pixels added on each side before a random crop of the old size; 0 is off.
    crop_fill : {"zero", "reflect"}
        The added pixels: black, or the picture mirrored without its edge.
    flip : float
        Probability of a left-right flip.
    cutout : int
        Side in pixels of a square that is set to the mean colour, its centre anywhere in the picture; 0 is off.
    brightness, contrast, saturation : float
        Each factor is uniform in [1 - x, 1 + x]; 0 is off.
    mixup : float
        Alpha of the Beta(alpha, alpha) share of the first of two blended pictures; 0 is off.
    cutmix : float
        Alpha of the Beta(alpha, alpha) share that a picture keeps when a box of another is pasted in; 0 is off.
    mix_probability : float
        Probability that a picture is mixed at all, if ``mixup`` or ``cutmix`` is on.
    cutmix_probability : float
        Probability that a mixed picture gets cutmix, if both are on.

    References
    ----------
    Cutout: DeVries and Taylor 2017. Mixup: Zhang et al. 2018. CutMix: Yun et al. 2019.
    """

    crop_padding: int = setting(0, "Pixels by which a picture may be shifted.", panel=PANEL, minimum=0)
    crop_fill: str = setting("zero", "Pixels outside a shifted picture.", panel=PANEL, choices=("zero", "reflect"))
    flip: float = setting(0.0, "Probability of mirroring a picture.", panel=PANEL, minimum=0, maximum=1)
    cutout: int = setting(0, "Side in pixels of a square that is blotted out; 0: none.", panel=PANEL, minimum=0)
    brightness: float = setting(0.0, "Strength of random changes; 0: none.", panel=PANEL, minimum=0, maximum=1)
    contrast: float = setting(0.0, "Strength of random changes; 0: none.", panel=PANEL, minimum=0, maximum=1)
    saturation: float = setting(0.0, "Strength of random changes; 0: none.", panel=PANEL, minimum=0, maximum=1)
    mixup: float = setting(0.0, "Parameter of mixup's Beta distribution; 0: none.", panel=PANEL, minimum=0)
    cutmix: float = setting(0.0, "Parameter of cutmix's Beta distribution; 0: none.", panel=PANEL, minimum=0)
    mix_probability: float = setting(
        1.0, "Share of the pictures that are mixed, if mixup or cutmix is on.", panel=PANEL, minimum=0, maximum=1
    )
    cutmix_probability: float = setting(
        0.5, "Share of the mixed pictures that get cutmix, if both are on.", panel=PANEL, minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        fill_in(self, {})
