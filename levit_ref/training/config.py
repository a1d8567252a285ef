"""Every hyperparameter of a run, as one frozen value that is checked once and recorded with the run."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


from levit_ref.data import Augmentation
from levit_ref.training.settings import ConfigError, check_value, toml_value, typed


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. Field names are the keys of a TOML file and, with dashes, the options of the CLI.

    What to train
        ``model``, ``dataset``, ``data_dir`` (None: the default place of the dataset), ``image_size`` (None: as the
        dataset has it), ``train_size`` and ``test_size`` (pictures; None: all), ``two_heads`` and ``drop_path``
        (None: as the variant has it; a teacher asks for two heads).
    For how long, on how much at once
        ``epochs``, ``batch_size``.
    Learning rate
        ``lr`` (peak), ``warmup_epochs``, ``warmup_lr`` (start), ``min_lr`` (end), see
        :class:`levit_ref.training.schedule.WarmupCosine`.
    Optimiser
        ``weight_decay``, ``betas``, ``eps``, see :class:`levit_ref.training.optimizer.AdamW`. ``clip_mode`` is
        "agc", "norm" or "none", ``clip_value`` its bound.
    Regularisation
        ``label_smoothing``; ``ema_decay`` (0: no moving average), ``ema_warmup``.
    Augmentation
        ``crop_padding``, ``crop_fill``, ``flip``, ``cutout``, ``brightness``, ``contrast``, ``saturation``,
        ``mixup``, ``cutmix``, ``mix_probability``, ``cutmix_probability``, see
        :class:`levit_ref.data.Augmentation`.
    Distillation
        ``teacher`` (a checkpoint) or ``teacher_logits`` (a file); ``distillation`` is "hard" or "soft",
        ``distillation_alpha`` the share of the teacher, ``temperature`` for "soft".
    Running
        ``backend`` ("native" or "numpy"; None: the one in use); ``seed``; ``eval_every`` (epochs);
        ``checkpoint_every_seconds`` and ``checkpoint_every_steps`` (0: not);
        ``threads`` (0: as the machine decides), ``workers`` and ``prefetch`` of the loader. None of these but the
        seed, and the backend and NumPy's threads through the order of sums, has an influence on the result.

    Raises
    ------
    ConfigError
        From the constructor, naming the setting.
    """

    model: str = "levit_1m_32px"
    dataset: str = "shapes"
    data_dir: str | None = None
    image_size: int | None = None
    train_size: int | None = None
    test_size: int | None = None
    two_heads: bool | None = None
    drop_path: float | None = None

    epochs: int = 10
    batch_size: int = 128

    lr: float = 2e-3
    warmup_epochs: float = 1.0
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5

    weight_decay: float = 0.025
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_mode: str = "agc"
    clip_value: float = 0.01

    label_smoothing: float = 0.1
    ema_decay: float = 0.0
    ema_warmup: bool = True

    crop_padding: int = 0
    crop_fill: str = "zero"
    flip: float = 0.0
    cutout: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    cutmix_probability: float = 0.5

    teacher: str | None = None
    teacher_logits: str | None = None
    distillation: str = "hard"
    distillation_alpha: float = 0.5
    temperature: float = 1.0

    backend: str | None = None
    seed: int = 0
    eval_every: int = 1
    checkpoint_every_seconds: float = 60.0
    checkpoint_every_steps: int = 0
    threads: int = 0
    workers: int = 1
    prefetch: int = 2

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(TrainConfig).items():
            object.__setattr__(self, name, typed(name, getattr(self, name), hint))
            check_value(name, getattr(self, name))
        for name in ("warmup_lr", "min_lr"):
            if getattr(self, name) > self.lr:
                raise ConfigError(f"{name} must be at most lr = {self.lr}, got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be in [0, 1), got {self.betas}")
        if self.ema_decay == 1:
            raise ConfigError("ema_decay must be below 1: an average that never moves")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(f"warmup_epochs must be below epochs = {self.epochs}, got {self.warmup_epochs}")
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: batch normalisation of one picture has no variance")
        if self.teacher is not None and self.teacher_logits is not None:
            raise ConfigError("teacher and teacher_logits exclude each other: give one of them")

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with some settings changed; unknown names raise with the nearest ones."""
        check_names(changes, "setting")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data that JSON and TOML can hold (None included)."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """The inverse of :meth:`to_dict`; what is not given has its default, unknown names raise."""
        check_names(settings, "setting")
        return cls(**settings)

    def to_toml(self) -> str:
        """All settings as a TOML document; a setting that is None is left out, as TOML has no word for it."""
        given = ((name, value) for name, value in self.to_dict().items() if value is not None)
        return "".join(f"{name} = {toml_value(value)}\n" for name, value in given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_toml` to a file."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainConfig:
        """Read a TOML file of settings; what it does not mention has its default."""
        return cls.from_dict(read_toml(path))

    @classmethod
    def resolve(cls, *layers: Mapping[str, Any]) -> TrainConfig:
        """Merge settings by precedence, the strongest first: command line, TOML file, defaults of the dataset.

        Parameters
        ----------
        *layers : mapping of str to value
            The dataset is found first (in the given layers, else "shapes"); its own defaults
            (:func:`dataset_defaults`) are then the weakest layer. Where there is a single epoch, a warm-up
            that nobody asked for takes half of it.
        """
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            check_names(layer, "setting")
            merged.update(layer)
        settings = {**dataset_defaults(merged.get("dataset", cls.dataset)), **merged}
        if settings.get("epochs") == 1:
            settings.setdefault("warmup_epochs", 0.5)
        return cls(**settings)

    def augmentation(self) -> Augmentation:
        """The augmentation of training pictures: these settings and the normalisation of the dataset."""
        usual = Augmentation.for_dataset(self.dataset)
        names = [field.name for field in dataclasses.fields(Augmentation) if hasattr(self, field.name)]
        return dataclasses.replace(usual, **{name: getattr(self, name) for name in names})


DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "shapes": {
        "model": "levit_250k_32px",
        "epochs": 8,
        "batch_size": 32,
        "lr": 3e-3,
        "label_smoothing": 0.0,
        "clip_mode": "none",
    },
    "cifar10": {"model": "levit_1m_32px", "epochs": 30, "ema_decay": 0.999},
    "cifar100": {"model": "levit_1m_32px", "epochs": 60, "ema_decay": 0.999},
    "folder": {"model": "levit_128s", "epochs": 100, "ema_decay": 0.999},
}
"""What a dataset asks for where the user says nothing, beside its augmentation."""


def dataset_defaults(dataset: str) -> dict[str, Any]:
    """Settings that suit a dataset: :data:`DATASET_DEFAULTS` and its usual augmentation.

    Raises
    ------
    ConfigError
        If no dataset is called so.
    """
    if dataset not in DATASET_DEFAULTS:
        near = difflib.get_close_matches(dataset, DATASET_DEFAULTS, n=1)
        raise ConfigError(
            f"dataset must be one of {', '.join(DATASET_DEFAULTS)}; got {dataset!r}"
            + (f", did you mean {near[0]}?" if near else "")
        )
    augmentation = dataclasses.asdict(Augmentation.for_dataset(dataset))
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    return {name: value for name, value in augmentation.items() if name in known} | DATASET_DEFAULTS[dataset]


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the settings of a TOML file, checking only that their names exist.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigError
        If it is not TOML, or has an unknown key (the nearest ones are named).
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such configuration file") from None
    try:
        settings = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    check_names(settings, f"key in {path}")
    return settings


def check_names(settings: Mapping[str, Any], what: str) -> None:
    """Raise :class:`ConfigError` if a name is no field of :class:`TrainConfig`, with the nearest names."""
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"unknown {what}: {name}; {hint}")
