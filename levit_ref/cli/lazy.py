"""Sub-commands that are imported when they are used: ``--help`` need not wait for what training needs."""

from __future__ import annotations

import importlib
from typing import Any

import typer

from levit_ref.cli.errors import OneLineErrors

COMMANDS = {
    "train": "Train a model; without options, on generated shapes.",
    "eval": "Evaluate a trained model: accuracy, top-5 accuracy, loss, and every class.",
    "predict": "Classify pictures: the most probable classes of each.",
    "inspect": "Look inside: the activations of a picture, and figures of what the network makes of it.",
    "summary": "Show what every component of a model costs.",
}
"""The sub-commands, each the function ``command`` of a module of this package, with the first line of their help."""


class LazyCommands(OneLineErrors):
    """The command, with the sub-commands of :data:`COMMANDS`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, first_line in COMMANDS.items():
            self.commands[name] = _build(name, _not_loaded, help=first_line)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the sub-command that is about to run (listing them does not come this way)."""
        if args and args[0] in COMMANDS:
            module = importlib.import_module(f"levit_ref.cli.{args[0]}")
            self.commands[args[0]] = _build(args[0], module.command)
        return super().resolve_command(ctx, args)


def _build(name: str, function: Any, **options: Any) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, **{"help": _reflow(function.__doc__ or ""), **options})(function)
    return typer.main.get_command(app)


def _reflow(text: str) -> str:
    """Paragraphs on one line each: the terminal's width is not that of the source."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _not_loaded() -> None:
    raise RuntimeError("this sub-command was to be imported before it is called")
