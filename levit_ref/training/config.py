"""Every setting of a run, as one frozen value that is checked once and recorded with the run."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from levit_ref._suggest import did_you_mean
from levit_ref.data import DATASETS, Augmentation, list_datasets
from levit_ref.data.augmentation import PANEL as AUGMENTATION
from levit_ref.settings import UNSET, ConfigError, declarations, fill_in, setting, text_of, toml_value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA, MODEL, OPTIMISATION = "Data", "Model", "Optimisation"
REGULARISATION, DISTILLATION, RUN = "Regularisation", "Distillation", "Run"
PANELS = (DATA, MODEL, OPTIMISATION, REGULARISATION, AUGMENTATION, DISTILLATION, RUN)
"""The groups of settings, in the order of ``--help``."""
DEFAULT_DATASET = "shapes"


@dataclass(frozen=True)
class TrainConfig(Augmentation):
    """Settings of a training run.

    Field names are the keys of a TOML file and, with dashes, the options of ``levit-ref train``; ``docs/training.md``
    lists all with type, default, range and meaning, as declared here. A setting that is not given has the default of
    its dataset (:data:`levit_ref.data.DATASETS`), or else its own. That is so in the constructor, in
    :meth:`load` and on the command line, so all three mean the same run.

    Raises
    ------
    ConfigError
        From the constructor, naming the setting.

    Examples
    --------
    >>> TrainConfig(dataset="cifar10").epochs
    30
    >>> TrainConfig(dataset="cifar10", epochs=5).epochs
    5
    """

    model: str = setting("levit_1m_32px", "Name of a variant; `levit-ref summary --list` shows them.", panel=MODEL)
    dataset: str = setting(DEFAULT_DATASET, f"{list_datasets()}.", panel=DATA)
    data_dir: str | None = setting(
        None, "Folder with the files of the dataset.", panel=DATA, not_given="a cache folder", influences_result=False
    )
    image_size: int | None = setting(
        None, "Pixels that the pictures are brought to.", panel=DATA, not_given="as the dataset has it", minimum=1
    )
    train_size: int | None = setting(None, "Number of pictures to train on.", panel=DATA, not_given="all", minimum=2)
    test_size: int | None = setting(None, "Number of pictures to test on.", panel=DATA, not_given="all", minimum=1)
    two_heads: bool | None = setting(
        None,
        "A second head, for distillation.",
        panel=MODEL,
        not_given="yes with a teacher, else as the variant has it",
    )
    drop_path: float | None = setting(
        None,
        "Stochastic depth: probability of leaving a residual branch out of a picture.",
        panel=MODEL,
        not_given="as the variant has it",
        minimum=0,
        maximum=0.99,
    )

    epochs: int = setting(10, "Passes over the pictures.", panel=OPTIMISATION, minimum=1)
    batch_size: int = setting(128, "Pictures in a step.", panel=OPTIMISATION, minimum=1)

    lr: float = setting(2e-3, "Peak learning rate.", panel=OPTIMISATION, positive=True)
    warmup_epochs: float = setting(
        1.0,
        "Epochs in which the learning rate rises; half a one if there is a single one.",
        panel=OPTIMISATION,
        minimum=0,
    )
    warmup_lr: float = setting(1e-6, "Learning rate at the start.", panel=OPTIMISATION, minimum=0)
    min_lr: float = setting(1e-5, "Learning rate at the end of the cosine.", panel=OPTIMISATION, minimum=0)

    weight_decay: float = setting(
        0.025,
        "Decoupled decay of the weights; biases, norms and attention biases have none.",
        panel=REGULARISATION,
        minimum=0,
    )
    betas: tuple[float, float] = setting((0.9, 0.999), "Decay of AdamW's two moving averages.", panel=OPTIMISATION)
    eps: float = setting(1e-8, "Smallest denominator of AdamW.", panel=OPTIMISATION, positive=True)
    clip_mode: str = setting(
        "agc",
        "Gradient clipping: adaptive to each unit's weights, by the global norm, or none.",
        panel=OPTIMISATION,
        choices=("agc", "norm", "none"),
    )
    clip_value: float = setting(0.01, "Bound of the clipping.", panel=OPTIMISATION, positive=True)

    label_smoothing: float = setting(
        0.1, "Share of the label that is spread over all classes.", panel=REGULARISATION, minimum=0, maximum=1
    )
    ema_decay: float = setting(
        0.0, "Decay of the moving average of the weights; 0: none.", panel=REGULARISATION, minimum=0, maximum=1
    )
    ema_warmup: bool = setting(True, "Let the average move faster in the first steps.", panel=REGULARISATION)

    teacher: str | None = setting(None, "Checkpoint of a teacher.", panel=DISTILLATION, not_given="none")
    teacher_logits: str | None = setting(
        None, "File of a teacher's logits for the training pictures.", panel=DISTILLATION, not_given="none"
    )
    distillation: str = setting(
        "hard", "Learn the teacher's decisions, or its probabilities.", panel=DISTILLATION, choices=("hard", "soft")
    )
    distillation_alpha: float = setting(
        0.5, "Share of the teacher in the loss.", panel=DISTILLATION, minimum=0, maximum=1
    )
    temperature: float = setting(1.0, "Divides the logits in soft distillation.", panel=DISTILLATION, positive=True)

    backend: str | None = setting(
        None,
        "C++ kernels or NumPy.",
        panel=RUN,
        not_given="native where it was built",
        choices=("native", "numpy"),
        influences_result=False,
    )
    seed: int = setting(0, "Of weights, order and augmentation.", panel=RUN, minimum=0)
    eval_every: int = setting(1, "Epochs between two evaluations.", panel=RUN, minimum=1)
    checkpoint_every_seconds: float = setting(
        60.0, "Seconds between two saves; 0: only at the end of epochs.", panel=RUN, minimum=0, influences_result=False
    )
    checkpoint_every_steps: int = setting(
        0, "Steps between two saves; 0: not by steps.", panel=RUN, minimum=0, influences_result=False
    )
    threads: int = setting(
        0, "Threads to compute with; 0: as the machine decides.", panel=RUN, minimum=0, influences_result=False
    )
    workers: int = setting(
        1, "Threads that prepare batches; 0: the training itself does.", panel=RUN, minimum=0, influences_result=False
    )
    prefetch: int = setting(2, "Batches prepared ahead.", panel=RUN, minimum=1, influences_result=False)

    def __post_init__(self) -> None:
        dataset = DEFAULT_DATASET if self.dataset is UNSET else self.dataset
        if not isinstance(dataset, str) or dataset not in DATASETS:
            hint = did_you_mean(dataset, list(DATASETS)) if isinstance(dataset, str) else ""
            raise ConfigError(f"dataset must be one of {', '.join(DATASETS)}; got {dataset!r}{hint}")
        defaults = dict(DATASETS[dataset].settings)
        if self.epochs == 1:
            defaults["warmup_epochs"] = 0.5
        fill_in(self, defaults)
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
        """A copy with some settings changed. All others stay as they are, also if the dataset is another one.

        Raises
        ------
        ConfigError
            If a setting is unknown (the nearest ones are named) or a value is not allowed.
        """
        check_names(changes, "setting")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data that JSON and TOML can hold (None included)."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """The inverse of :meth:`to_dict`; a setting that is not given has its default, unknown names raise."""
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
        """Read a TOML file of settings; a setting that it does not mention has its default.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ConfigError
            If it is not TOML, has an unknown key (the nearest ones are named), or a value is not allowed.
        """
        return cls.from_dict(read_toml(path))

    def augmentation(self) -> Augmentation:
        """The settings of augmentation alone."""
        return Augmentation(**{name: getattr(self, name) for name in declarations(Augmentation)})


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
    known = list(declarations(TrainConfig))
    for name in settings:
        if name not in known:
            hint = did_you_mean(name, known, n=3) or f"; known are {', '.join(known)}"
            raise ConfigError(f"unknown {what}: {name}{hint}")


def default_text(name: str) -> str:
    """The default of a setting in words, for each dataset where they differ."""
    not_given = declarations(TrainConfig)[name].not_given
    texts: dict[str, list[str]] = {}
    for dataset in [DEFAULT_DATASET] if name == "dataset" else DATASETS:
        value = getattr(TrainConfig(dataset=dataset), name)
        texts.setdefault(not_given if value is None else text_of(value), []).append(dataset)
    if len(texts) == 1:
        return next(iter(texts))
    return "; ".join(f"{', '.join(datasets)}: {text}" for text, datasets in texts.items())


def settings_table() -> str:
    """Every setting as a Markdown table, one for each panel: name, default, range, meaning."""
    panels: dict[str, list[str]] = {panel: [] for panel in PANELS}
    for name, declared in declarations(TrainConfig).items():
        fixed = "" if declared.influences_result else " May change when a run is resumed."
        row = f"| `{name}` | {default_text(name)} | {declared.limits} | {declared.help}{fixed} |"
        panels[declared.panel].append(row)
    head = "| setting | default | range | meaning |\n|---|---|---|---|"
    return "\n\n".join(f"### {panel}\n\n{head}\n" + "\n".join(rows) for panel, rows in panels.items()) + "\n"
