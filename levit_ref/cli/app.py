"""The command with its sub-commands, and the entry point of the console script."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from levit_ref._version import __version__
from levit_ref.cli.errors import Debug
from levit_ref.cli.lazy import LazyCommands

app = typer.Typer(
    cls=LazyCommands,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"levit-ref {__version__}")
        raise typer.Exit


@app.callback()
def levit_ref(
    context: typer.Context,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """LeViT in plain NumPy: train it, evaluate it, classify pictures with it, and see what each component costs."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line of this process."""
    for stream in sys.stdout, sys.stderr:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a class name that the terminal cannot show is no reason to fail
    app(prog_name="levit-ref")
