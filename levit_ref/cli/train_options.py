"""The settings of a run as options, made from their declarations in :class:`TrainConfig`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import typer

from levit_ref.cli.options import with_default
from levit_ref.settings import declarations, without_none
from levit_ref.training.config import PANELS, TrainConfig, default_text


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the ``**settings`` of a command by one option for each field of :class:`TrainConfig`.

    The command is called with those options only that were given.
    """
    # not typing.get_type_hints, which in Python 3.10 hides Annotated behind an Optional where the default is None
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    names = {parameter.name for parameter in own}

    def call(**options: Any) -> None:
        command(**{name: value for name, value in options.items() if name in names or value is not None})

    call.__doc__ = command.__doc__
    parameters = [*own, *_setting_parameters()]
    vars(call)["__signature__"] = inspect.Signature(parameters)  # inspect.signature, and so Typer, reads this
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _setting_parameters() -> list[inspect.Parameter]:
    """One keyword parameter for each setting; None is the value of an option that was not given."""
    hints = get_type_hints(TrainConfig)
    parameters = []
    for name, declared in sorted(declarations(TrainConfig).items(), key=lambda item: PANELS.index(item[1].panel)):
        kind, flag = without_none(hints[name]), name.replace("_", "-")
        option = typer.Option(
            None,
            f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
            help=with_default(declared.help, default_text(name)),
            metavar="|".join(declared.choices) or None,
            rich_help_panel=declared.panel,
            show_default=False,
        )
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)
        )
    return parameters
