"""``levit-ref predict``: what is on these pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from levit_ref.checkpoints import load_checkpoint
from levit_ref.cli.errors import CommandError, Debug, complain, message
from levit_ref.cli.model_option import DEFAULT, Model, introduction
from levit_ref.cli.output import console, print_json, printable
from levit_ref.evaluation import NonFiniteLogitsError, Prediction, classify

AT_ONCE = 32
"""Pictures of a batch."""


def command(
    images: Annotated[list[Path], typer.Argument(help="Picture files, of any size and colour mode.")],
    model: Model = DEFAULT,
    top: Annotated[int, typer.Option(min=1, help="Number of classes to show.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: one list, with an entry for each picture.")] = False,
    debug: Debug = False,
) -> None:
    """Classify pictures: the most probable classes of each.

    A picture is prepared as in the model's training: turned as its EXIF tag says, scaled, its centre cut out, its
    colours normalised. One that cannot be read is reported, the others are still classified, and the exit status is 2.
    """
    checkpoint = load_checkpoint(model)
    line = introduction(model, checkpoint.about)
    if line and not json:
        console().print(line, soft_wrap=True)
    errors: dict[Path, str] = {}

    def report(path: Any, error: Exception) -> None:
        errors[path] = message(error)
        complain(message(error))

    entries: list[dict[str, Any]] = []
    for start in range(0, len(images), AT_ONCE):
        some = images[start : start + AT_ONCE]
        try:
            found = classify(checkpoint, some, top=top, batch_size=AT_ONCE, on_error=report)
        except NonFiniteLogitsError as error:
            raise CommandError(f"{model}: {error}") from error
        for path, predictions in zip(some, found, strict=True):
            if json:
                entries.append({"image": str(path), "model": model, **_entry(predictions, errors.get(path))})
            elif path not in errors:
                _print_predictions(path, predictions)
    if json:
        print_json(entries)
    if errors:
        raise CommandError  # what failed has been said


def _entry(predictions: list[Prediction], error: str | None) -> dict[str, Any]:
    if error is not None:
        return {"error": error}
    return {
        "predictions": [
            {"class": found.class_name, "index": found.index, "probability": found.probability} for found in predictions
        ]
    }


def _print_predictions(path: Path, predictions: list[Prediction]) -> None:
    out = console()
    out.print(str(path), style="bold", soft_wrap=True)
    for found in predictions:
        out.print(f"  {found.probability:7.2%}  {printable(found.class_name)}", soft_wrap=True)
