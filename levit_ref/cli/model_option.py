"""The option ``--model``, which means the same in every command: its help, its two places, and a line about a model."""

from __future__ import annotations

from typing import Annotated

import typer

from levit_ref.checkpoints import About
from levit_ref.pretrained import DEFAULT, list_pretrained

MODEL_HELP = (
    "A model that comes with the package, a checkpoint, a run folder (its best checkpoint), or, where no training is "
    "needed, a variant."
)

Model = Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)]
"""``--model`` in a command that takes it nowhere else."""

ModelArgument = Annotated[str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)]
"""The same as an argument; :func:`one_model` makes one of both."""

ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="The same as the argument MODEL.", show_default=False)
]


def one_model(argument: str | None, option: str | None) -> str | None:
    """What was given in either place; None if nothing was.

    Raises
    ------
    ValueError
        If two models are given.
    """
    if argument is not None and option is not None and argument != option:
        raise ValueError(f"two models for one command: {argument} and --model {option}")
    return option if argument is None else argument


def introduction(model: str, about: About) -> str:
    """One line about a model that comes with the package; empty for the user's own."""
    if model not in list_pretrained():
        return ""
    accuracy = "" if about.accuracy is None else f", test accuracy {about.accuracy:.1%}"
    few = 0 < len(about.class_names) <= 20
    classes = ", ".join(about.class_names) if few else f"{about.num_classes} classes"
    return f"{model}, trained on {about.dataset}{accuracy}; it knows {classes}"


__all__ = ["DEFAULT", "MODEL_HELP", "Model", "ModelArgument", "ModelOption", "introduction", "one_model"]
