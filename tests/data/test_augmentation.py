"""The settings of augmentation."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from levit_ref.data import Augmentation
from levit_ref.settings import ConfigError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_padding", -1),
        ("crop_padding", 1.5),
        ("crop_fill", "edge"),
        ("flip", 1.5),
        ("cutout", -2),
        ("brightness", -0.1),
        ("contrast", 1.1),
        ("saturation", float("nan")),
        ("mixup", -1.0),
        ("cutmix", float("inf")),
        ("mix_probability", 2.0),
        ("cutmix_probability", -1.0),
    ],
)
def test_wrong_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must be"):
        Augmentation(**{field: value})  # type: ignore[arg-type]


def test_plain_data_there_and_back() -> None:
    settings = Augmentation(crop_padding=4, crop_fill="reflect", flip=0.5, cutmix=1)
    assert Augmentation(**asdict(settings)) == settings
    assert isinstance(settings.cutmix, float)


def test_nothing_is_on_by_default() -> None:
    off = Augmentation()
    switches = ("crop_padding", "flip", "cutout", "brightness", "contrast", "saturation", "mixup", "cutmix")
    assert all(getattr(off, name) == 0 for name in switches)
