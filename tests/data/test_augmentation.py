"""The settings of augmentation."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from levit_ref.data import DATASETS, Augmentation


class TestSettings:
    """The dataclass of settings."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("mean", (0.5, 0.5)),
            ("mean", (0.5, 0.5, float("nan"))),
            ("std", (0.5, 0.5, 0.0)),
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
    def test_wrong_values_are_refused_by_name(self, field: str, value: object) -> None:
        with pytest.raises(ValueError, match=f"^{field} must be"):
            Augmentation(**{field: value})

    def test_plain_data_there_and_back(self) -> None:
        settings = Augmentation.for_dataset("cifar10")
        as_lists = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}
        assert Augmentation(**as_lists) == settings

    @pytest.mark.parametrize("name", DATASETS)
    def test_every_dataset_has_settings(self, name: str) -> None:
        settings = Augmentation.for_dataset(name)
        assert settings.is_random
        plain = settings.without_randomness()
        assert not plain.is_random
        assert (plain.mean, plain.std) == (settings.mean, settings.std)
        with pytest.raises(ValueError, match="no dataset is called 'mnist'"):
            Augmentation.for_dataset("mnist")

    def test_nothing_is_on_by_default(self) -> None:
        assert not Augmentation().is_random
        assert replace(Augmentation(), flip=0.5).is_random
