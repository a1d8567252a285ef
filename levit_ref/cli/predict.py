"""``levit-ref predict``: what is on these pictures."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from levit_ref.checkpoints import ModelMetadata
from levit_ref.cli.errors import CommandError, Debug, complain, message
from levit_ref.cli.models import CHECKPOINT_HELP, introduction, load_checkpoint
from levit_ref.cli.output import console
from levit_ref.nn import LeViT
from levit_ref.ops import softmax_forward
from levit_ref.pretrained import DEFAULT, prepare_images


def command(
    images: Annotated[list[Path], typer.Argument(help="Picture files, of any size and colour mode.")],
    model: Annotated[str, typer.Option("--model", "-m", help=CHECKPOINT_HELP)] = DEFAULT,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON for each picture.")] = False,
    debug: Debug = False,
) -> None:
    """Classify pictures: the most probable classes of each.

    A picture is brought to the size that the model knows as in training: turned as its EXIF tag says, scaled until
    the shorter side fits, the centre cut out. One that cannot be read is reported, the others are still classified,
    and the exit status is 2.
    """
    network, about = load_checkpoint(model)
    line = introduction(model, about)
    if line and not json:
        console().print(line, soft_wrap=True)
    failed = False
    for path in images:
        try:
            found = classify(network, about, path, top)
        except (OSError, ValueError) as error:
            failed = True
            complain(message(error))
            if json:
                print(jsonlib.dumps({"image": str(path), "model": model, "error": message(error)}), flush=True)
            continue
        if json:
            print(jsonlib.dumps({"image": str(path), "model": model, "predictions": found}), flush=True)
        else:
            _print_predictions(path, found)
    if failed:
        raise CommandError  # what failed has been said


def classify(model: LeViT, about: ModelMetadata, path: Path, top: int) -> list[dict[str, Any]]:
    """The ``top`` most probable classes of a picture file, the best first."""
    with model.inference():
        logits = model(prepare_images(path, about))  # (1, K)
    probabilities = softmax_forward(logits.astype("float64"))[0][0]  # (K,)
    best = (-probabilities).argsort(kind="stable")[:top]
    names = about.class_names or tuple(map(str, range(model.num_classes)))
    return [{"class": names[i], "index": int(i), "probability": float(probabilities[i])} for i in best]


def _print_predictions(path: Path, found: list[dict[str, Any]]) -> None:
    out = console()
    out.print(str(path), style="bold", soft_wrap=True)
    for line in found:
        out.print(f"  {line['probability']:7.2%}  {line['class']}", soft_wrap=True)
