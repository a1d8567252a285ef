"""The settings of a run as options: types and defaults come from :class:`TrainConfig`, the words from here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import typer

from levit_ref.cli.options import with_default
from levit_ref.training.config import DATASET_DEFAULTS, TrainConfig
from levit_ref.training.settings import CHOICES

HELP: dict[str, dict[str, str]] = {
    "Data": {
        "dataset": "shapes (generated), cifar10, cifar100, or folder (one folder of pictures a class).",
        "data_dir": "Where the files of the dataset are.",
        "image_size": "Pixels that the pictures are brought to.",
        "train_size": "Train on so many of the pictures.",
        "test_size": "Test on so many of the pictures.",
    },
    "Model": {
        "model": "Name of a variant; `levit-ref summary --list` shows them.",
        "two_heads": "A second head, for distillation.",
        "drop_path": "Stochastic depth: how often a residual branch is left out.",
    },
    "Optimisation": {
        "epochs": "Passes over the pictures.",
        "batch_size": "Pictures in a step.",
        "lr": "Learning rate at its peak.",
        "warmup_epochs": "Epochs in which the learning rate rises; half of a single one.",
        "warmup_lr": "Learning rate at the start.",
        "min_lr": "Learning rate at the end of the cosine.",
        "betas": "Decay of AdamW's two moving averages.",
        "eps": "Smallest denominator of AdamW.",
        "clip_mode": "Gradient clipping: adaptive to each unit's weights, by the global norm, or none.",
        "clip_value": "Bound of the clipping.",
    },
    "Regularisation": {
        "weight_decay": "Decoupled decay of the weights; biases, norms and attention biases have none.",
        "label_smoothing": "Share of the label that is spread over all classes.",
        "ema_decay": "Decay of the moving average of the weights; 0: none.",
        "ema_warmup": "Let the average move faster in the first steps.",
    },
    "Augmentation": {
        "crop_padding": "Pixels by which a picture may be shifted.",
        "crop_fill": "What is outside of a shifted picture.",
        "flip": "How often a picture is mirrored.",
        "cutout": "Side, in pixels, of a square that is blotted out; 0: none.",
        "brightness": "Strength of random changes; 0: none.",
        "contrast": "Strength of random changes; 0: none.",
        "saturation": "Strength of random changes; 0: none.",
        "mixup": "Parameter of mixup's Beta distribution; 0: none.",
        "cutmix": "Parameter of cutmix's Beta distribution; 0: none.",
        "mix_probability": "How often pictures are mixed, where mixup or cutmix is on.",
        "cutmix_probability": "How often that is cutmix, where both are on.",
    },
    "Distillation": {
        "teacher": "Checkpoint of a teacher.",
        "teacher_logits": "File of a teacher's logits for the training pictures.",
        "distillation": "Learn the teacher's decisions, or its probabilities.",
        "distillation_alpha": "Share of the teacher in the loss.",
        "temperature": "By which the logits are divided in soft distillation.",
    },
    "Run": {
        "backend": "native (C++ kernels) or numpy.",
        "seed": "Of weights, order and augmentation.",
        "eval_every": "Epochs between two evaluations.",
        "checkpoint_every_seconds": "Save so often; 0: at the end of epochs only.",
        "checkpoint_every_steps": "Save so often; 0: not by steps.",
        "threads": "Threads to compute with; 0: as the machine decides. The process restarts itself to set it.",
        "workers": "Threads that prepare batches; 0: none beside the training itself.",
        "prefetch": "Batches prepared ahead.",
    },
}
"""By heading in ``--help``: what each setting is."""

NOT_GIVEN = {
    "data_dir": "a cache folder",
    "image_size": "as the dataset has it",
    "train_size": "all",
    "test_size": "all",
    "two_heads": "with a teacher yes, else as the variant has it",
    "drop_path": "as the variant has it",
    "teacher": "none",
    "teacher_logits": "none",
    "backend": "native where it was built",
}
"""What happens if a setting is not given that has no value by default."""


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the ``**settings`` of a command by one option for each field of :class:`TrainConfig`.

    The command is called with those options only that were given.
    """

    @functools.wraps(command)
    def call(**options: Any) -> None:
        own = {name: options.pop(name) for name in explicit}
        command(**own, **{name: value for name, value in options.items() if value is not None})

    # not typing.get_type_hints, which in Python 3.10 hides Annotated behind an Optional where the default is None
    explicit = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    parameters = [*explicit.values(), *_setting_parameters()]
    # what typer reads; __wrapped__ would lead it to the original instead
    vars(call)["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del vars(call)["__wrapped__"]
    return call


def _setting_parameters() -> list[inspect.Parameter]:
    """One keyword parameter for each setting; None is the value of an option that was not given."""
    hints = get_type_hints(TrainConfig)
    parameters = []
    for panel, words in HELP.items():
        for name, help_text in words.items():
            kind = _without_none(hints[name])
            flag = name.replace("_", "-")
            option = typer.Option(
                None,
                f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
                help=with_default(help_text, _default_text(name)),
                metavar="|".join(CHOICES[name]) if name in CHOICES else None,
                rich_help_panel=panel,
                show_default=False,
            )
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)
            )
    return parameters


def _without_none(hint: Any) -> Any:
    """``int`` for ``int | None``, and any other type as it is."""
    options = [option for option in get_args(hint) if option is not type(None)]
    return options[0] if type(None) in get_args(hint) else hint


def _default_text(name: str) -> str:
    """What a setting is by default, for each dataset where they differ."""
    texts: dict[str, list[str]] = {}
    for dataset in DATASET_DEFAULTS:
        value = getattr(TrainConfig.resolve({"dataset": dataset}), name) if name != "dataset" else TrainConfig.dataset
        texts.setdefault(NOT_GIVEN[name] if value is None else _value_text(value), []).append(dataset)
    if len(texts) == 1:
        return next(iter(texts))
    return "; ".join(f"{', '.join(datasets)}: {text}" for text, datasets in texts.items())


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    values = value if isinstance(value, tuple) else (value,)
    return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in values)
