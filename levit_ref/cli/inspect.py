"""``levit-ref inspect``: everything inside, for one picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from levit_ref.checkpoints import ModelMetadata
from levit_ref.cli.errors import Debug
from levit_ref.cli.models import CHECKPOINT_HELP, check_classes, introduction, load_checkpoint
from levit_ref.cli.options import with_default
from levit_ref.cli.output import console, print_json, table
from levit_ref.data import load_dataset, normalise
from levit_ref.files.atomic import replacing
from levit_ref.inspection import Activations, run_with_activations
from levit_ref.inspection.report import report_figures
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray, softmax_forward
from levit_ref.preprocessing import Preprocessing, read_picture
from levit_ref.pretrained import DEFAULT


def command(
    image: Annotated[Path, typer.Argument(help="A picture file, of any size and colour mode.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into; made if it is not there.")],
    model: Annotated[str, typer.Option("--model", "-m", help=CHECKPOINT_HELP)] = DEFAULT,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            "-n",
            help=with_default("Activations to write, as 'stages.*.attn.probs'; may be repeated.", "all"),
            show_default=False,
        ),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures, too.")] = True,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,COLUMN",
            help=with_default("The pixel whose token is asked where it looks.", "the middle"),
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
                "what it was trained on, if that is on this machine",
            ),
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the files of the dataset are.", show_default=False)
    ] = None,
    size: Annotated[int, typer.Option(min=4, help="How many of its pictures.")] = 128,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Look inside: the activations of a picture, and figures of what the network makes of it.

    Writes activations.npz, an array for each name (numpy.load reads it), and figures as PNG files: attention maps of
    every layer, rollout, attention distance, position biases, saliency, statistics, first filters, receptive fields.
    With pictures of a dataset also the similarity of layers and the importance of heads and blocks.
    """
    network, about = load_checkpoint(model)
    pixels = read_picture(image, Preprocessing(network.image_size))  # (3, H, W)
    pixel = None if at is None else _pixel(at, network)
    explained = None if target is None else _class(target, about)
    examples = _examples(model, network, about, dataset, data_dir, size) if figures else None
    images = normalise(pixels[None], about.mean, about.std).astype(network.dtype, copy=False)
    with network.inference():
        logits, acts = run_with_activations(network, images, names or "*")
    assert logits is not None  # nothing stops the pass
    output.mkdir(parents=True, exist_ok=True)
    written = [("activations.npz", f"{len(acts)} arrays, {acts.nbytes / 1e6:.1f} MB")]
    _write_activations(output / "activations.npz", acts)
    if figures:
        todo = list(
            report_figures(
                network, pixels, images, at=pixel, target=explained, class_names=about.class_names, examples=examples
            )
        )
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("drawing", total=len(todo))
            for figure in todo:
                progress.update(task, description=figure.name)
                path = output / f"{figure.name}.png"
                path.parent.mkdir(exist_ok=True)
                with replacing(path) as temporary:
                    figure.draw().savefig(temporary, format="png")
                written.append((f"{figure.name}.png", figure.about))
                progress.advance(task)
    _print(image, model, output, about, logits, written, acts, json)


def _pixel(text: str, model: LeViT) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    H, W = model.image_size
    if match is None or int(match[1]) >= H or int(match[2]) >= W:
        raise ValueError(f"--at must be a row below {H} and a column below {W}, like 12,20; got {text!r}")
    return int(match[1]), int(match[2])


def _class(text: str, about: ModelMetadata) -> int:
    if text in about.class_names:
        return about.class_names.index(text)
    if text.isdecimal() and int(text) < about.num_classes:
        return int(text)
    known = f", or one of {', '.join(about.class_names)}" if about.class_names else ""
    raise ValueError(f"--class must be a number below {about.num_classes}{known}; got {text!r}")


def _examples(
    checkpoint: str, model: LeViT, about: ModelMetadata, dataset: str | None, data_dir: Path | None, size: int
) -> tuple[Array, IntArray] | None:
    """Normalised test pictures and their labels; None if nobody asked for them and they are not on this machine."""
    name = dataset or about.dataset
    if not name:
        return None
    asked_for = dataset is not None or data_dir is not None
    try:
        data = load_dataset(name, "test", data_dir, image_size=model.image_size, size=size, download=asked_for)
        check_classes(checkpoint, about, data, name)
    except (OSError, ValueError):
        if asked_for:
            raise
        return None
    images = normalise(data.batch(np.arange(len(data))), about.mean, about.std)
    return images.astype(model.dtype, copy=False), data.labels


def _write_activations(path: Path, acts: Activations) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **acts)  # type: ignore[arg-type]  # no array has the name of savez's own argument


def _print(
    image: Path,
    model: str,
    folder: Path,
    about: ModelMetadata,
    logits: Array,
    written: list[tuple[str, str]],
    acts: Activations,
    json: bool,
) -> None:
    probabilities = softmax_forward(logits.astype(np.float64))[0][0]  # (K,)
    best = int(probabilities.argmax())
    name = about.class_names[best] if about.class_names else str(best)
    if json:
        found: dict[str, Any] = {"class": name, "index": best, "probability": float(probabilities[best])}
        files = [{"file": str(folder / file), "about": text} for file, text in written]
        notes = list(acts.notes)
        print_json({"image": str(image), "model": model, "prediction": found, "files": files, "notes": notes})
        return
    out = console()
    line = introduction(model, about)
    if line:
        out.print(line, soft_wrap=True)
    out.print(f"{image}: {name}, {probabilities[best]:.2%}", soft_wrap=True)
    rows = table(f"in {folder}", "", left=2)
    for file, text in written:
        rows.add_row(file, text)
    out.print(rows)
