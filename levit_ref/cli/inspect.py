"""``levit-ref inspect``: everything inside, for one picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from levit_ref.checkpoints import About, Checkpoint, load_checkpoint
from levit_ref.cli.errors import Debug
from levit_ref.cli.model_option import DEFAULT, Model, introduction
from levit_ref.cli.options import with_default
from levit_ref.cli.output import console, print_json, printable, table
from levit_ref.data import load_dataset
from levit_ref.evaluation import check_classes, most_probable
from levit_ref.files import replacing
from levit_ref.inspection import record
from levit_ref.inspection.names import select
from levit_ref.inspection.report import NEEDED, Finding, findings
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray


def command(
    image: Annotated[Path, typer.Argument(help="A picture file, of any size and colour mode.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into; it is made if need be.")],
    model: Model = DEFAULT,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            "-n",
            help=with_default("Activations to write, as 'stages.*.attn.probs'; may be repeated.", "all"),
            show_default=False,
        ),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures as well.")] = True,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,COLUMN",
            help=with_default("A pixel: the attention of the tokens nearest to it is drawn.", "the middle"),
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--class",
            help=with_default("The class to explain: name or number.", "the predicted one"),
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help=with_default(
                "Pictures for layer similarity and importance: shapes, cifar10, cifar100 or folder.",
                "the dataset that it was trained on, if it is on this machine",
            ),
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the files of the dataset are.", show_default=False)
    ] = None,
    test_size: Annotated[int, typer.Option(min=4, help="Number of its test pictures to use.")] = 128,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Look inside: the activations of a picture, and figures of what the network makes of it.

    Writes activations.npz, an array for each name (numpy.load reads it), and figures as PNG files: attention maps of
    every layer, rollout, attention distance, position biases, saliency, statistics, first filters, receptive fields.
    With pictures of a dataset also the similarity of layers and the importance of heads and branches.
    """
    checkpoint = load_checkpoint(model)
    network, about, preprocessing = checkpoint.model, checkpoint.about, checkpoint.preprocessing
    pixels = preprocessing.pixels(image)  # (3, H, W)
    pixel = None if at is None else _pixel(at, network)
    explained = None if target is None else _class(target, about)
    examples = _examples(checkpoint, dataset, data_dir, test_size) if figures else None
    wanted = names or ["*"]
    acts = record(network, preprocessing.normalise(pixels[None]), [*wanted, "logits", *(NEEDED if figures else ())])
    arrays = {name: acts[name] for name in select(wanted, list(acts))}
    todo = []
    if figures:
        todo = list(
            findings(
                network, acts, pixels, at=pixel, target=explained, class_names=about.class_names, examples=examples
            )
        )
    output.mkdir(parents=True, exist_ok=True)
    _write_arrays(output / "activations.npz", arrays)
    _write_figures(output, todo)
    size = sum(value.nbytes for value in arrays.values())
    written = [("activations.npz", f"{len(arrays)} arrays, {size / 1e6:.1f} MB")]
    written += [(f"{finding.name}.png", finding.about) for finding in todo]
    _print(image, model, output, about, acts["logits"], written, acts.notes, json)


def _pixel(text: str, model: LeViT) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    H, W = model.image_size
    if match is None or int(match[1]) >= H or int(match[2]) >= W:
        raise ValueError(f"--at must be a row below {H} and a column below {W}, like 12,20; got {text!r}")
    return int(match[1]), int(match[2])


def _class(text: str, about: About) -> int:
    if text in about.class_names:
        return about.class_names.index(text)
    if text.isdecimal() and int(text) < about.num_classes:
        return int(text)
    known = f", or one of {', '.join(about.class_names)}" if about.class_names else ""
    raise ValueError(f"--class must be a number below {about.num_classes}{known}; got {text!r}")


def _examples(
    checkpoint: Checkpoint, dataset: str | None, data_dir: Path | None, size: int
) -> tuple[Array, IntArray] | None:
    """Normalised test pictures and their labels; None if nobody asked for them and they are not on this machine."""
    about, preprocessing = checkpoint.about, checkpoint.preprocessing
    name = dataset or about.dataset
    if not name:
        return None
    asked_for = dataset is not None or data_dir is not None
    try:
        data = load_dataset(name, "test", data_dir, preprocessing=preprocessing, size=size, download=asked_for)
        check_classes(about, data.classes)
    except (OSError, ValueError):
        if asked_for:
            raise
        return None
    return preprocessing.normalise(data.batch(np.arange(len(data)))), data.labels


def _write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array has the name of savez's own argument


def _write_figures(folder: Path, todo: list[Finding]) -> None:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("drawing", total=len(todo))
        for finding in todo:
            progress.update(task, description=finding.name)
            path = folder / f"{finding.name}.png"
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary:
                finding.draw(finding.compute()).savefig(temporary, format="png")
            progress.advance(task)


def _print(
    image: Path,
    model: str,
    folder: Path,
    about: About,
    logits: Array,
    written: list[tuple[str, str]],
    notes: tuple[str, ...],
    json: bool,
) -> None:
    ((best,),) = most_probable(logits, about.class_names, top=1)
    if json:
        found: dict[str, Any] = {"class": best.class_name, "index": best.index, "probability": best.probability}
        files = [{"file": str(folder / file), "about": text} for file, text in written]
        print_json({"image": str(image), "model": model, "prediction": found, "files": files, "notes": list(notes)})
        return
    out = console()
    line = introduction(model, about)
    if line:
        out.print(line, soft_wrap=True)
    out.print(f"{image}: {printable(best.class_name)}, {best.probability:.2%}", soft_wrap=True)
    rows = table(f"in {folder}", "", left=2)
    for file, text in written:
        rows.add_row(file, text)
    out.print(rows)
