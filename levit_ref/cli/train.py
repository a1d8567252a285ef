"""``levit-ref train``: train a model, or continue a run."""

from __future__ import annotations

import itertools
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from levit_ref.cli.errors import CommandError, Debug
from levit_ref.cli.options import with_default
from levit_ref.cli.output import console
from levit_ref.cli.train_options import with_settings
from levit_ref.training import NonFiniteError, Progress, RunFolder, TrainConfig, read_toml, train

RUNS = Path("runs")
"""Where run folders go by default."""


@with_settings
def command(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of the run, the same as --out.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=with_default("Folder of the run; must be new or empty.", "runs/DATASET-MODEL"), show_default=False
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings, named as the options; the command line wins.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Train a model; without options, on generated shapes.

    Everything about the run goes into its folder: settings, metrics.jsonl, curves.png, confusion.png, the best and the
    last checkpoint. Ctrl-C and SIGTERM finish the step and save. `levit-ref train --resume FOLDER` continues, to the
    same result as without the interruption; with more `--epochs` it prolongs the run.
    """
    folder = _folder(run, out)
    from_file = {} if config is None else read_toml(config)
    if resume:
        if folder is None:
            raise ValueError("--resume needs the folder of the run: levit-ref train --resume FOLDER")
        chosen = RunFolder(folder).read_config().replace(**{**from_file, **settings})
    else:
        chosen = TrainConfig.from_dict({**from_file, **settings})
        folder = folder or _free_folder(f"{chosen.dataset}-{chosen.model}")

    out_console = console()
    progress = Progress(out_console, quiet=quiet)
    progress.say(f"training {chosen.model} on {chosen.dataset}, run folder {folder}")
    try:
        result = train(
            chosen, folder, resume=resume, progress=progress, command=shlex.join(["levit-ref", *sys.argv[1:]])
        )
    except NonFiniteError as error:
        raise CommandError(str(error), status=1) from error
    if result.signal is None and result.best_accuracy is not None:
        progress.say(f"best test accuracy {result.best_accuracy:.2%}, {folder / 'best.safetensors'}")
    raise typer.Exit(result.exit_status)


def _folder(run: Path | None, out: Path | None) -> Path | None:
    if run is not None and out is not None and run != out:
        raise ValueError(f"two folders for one run: {run} and --out {out}")
    return out if run is None else run


def _free_folder(name: str) -> Path:
    """The first of ``runs/name``, ``runs/name-2``, ``runs/name-3``, ... that is not there yet."""
    names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(path for path in map(RUNS.joinpath, names) if not path.exists())
