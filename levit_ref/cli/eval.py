"""``levit-ref eval``: how good a checkpoint is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from levit_ref.cli.errors import Debug
from levit_ref.cli.models import CHECKPOINT_HELP, check_classes, load_checkpoint
from levit_ref.cli.options import with_default
from levit_ref.cli.output import console, print_json, table
from levit_ref.data import Augmentation, Dataset, load_dataset
from levit_ref.evaluation import EvalResult, evaluate
from levit_ref.pretrained import DEFAULT
from levit_ref.training.plots import plot_confusion


def command(
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)] = DEFAULT,
    dataset: Annotated[
        str | None,
        typer.Option(
            help=with_default("shapes, cifar10, cifar100 or folder.", "what it was trained on"), show_default=False
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the files of the dataset are.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    size: Annotated[
        int | None, typer.Option(min=1, help=with_default("Use so many pictures.", "all"), show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once; no influence on the result.")] = 256,
    confusion: Annotated[
        Path | None, typer.Option(help="Draw which classes are taken for which: a PNG file.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Evaluate a checkpoint: accuracy, top-5 accuracy, loss, and every class.

    Normalisation and image size are those that the checkpoint was trained with.
    """
    if confusion is not None and not confusion.parent.is_dir():  # before the work, not after it
        raise FileNotFoundError(f"--confusion {confusion}: the folder {confusion.parent} does not exist")
    model, about = load_checkpoint(checkpoint)
    name = dataset or about.dataset
    if not name:
        raise ValueError(f"{checkpoint}: does not say what it was trained on; choose with --dataset")
    data = load_dataset(name, split, data_dir, image_size=model.image_size, size=size)
    check_classes(checkpoint, about, data, name)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("evaluating", total=len(data))
        result = evaluate(
            model,
            data,
            batch_size,
            Augmentation(mean=about.mean, std=about.std),
            on_batch=lambda done, total: progress.update(task, completed=done),
        )
    if json:
        print_json(_as_data(checkpoint, name, split, data, result))
    else:
        _print_result(checkpoint, name, split, data, result)
    if confusion is not None:
        plot_confusion(confusion, result.confusion, data.classes)


def _print_result(checkpoint: str, name: str, split: str, data: Dataset, result: EvalResult) -> None:
    out = console()
    rows = table("class", "most often taken for", "pictures", "recall", "precision", left=2)
    for line in _classes(data, result):
        taken = f"{line['taken_for']} ({line['taken_for_count']})" if line["taken_for"] else ""
        rows.add_row(
            line["class"], taken, f"{line['pictures']:,}", _percent(line["recall"]), _percent(line["precision"])
        )
    out.print(rows)
    out.print(f"\n{checkpoint} on {name}, {split}, {len(data):,} pictures", soft_wrap=True)
    out.print(f"accuracy {result.accuracy:.2%}   top-5 {result.top5:.2%}   loss {result.loss:.4f}", style="bold")


def _as_data(checkpoint: str, name: str, split: str, data: Dataset, result: EvalResult) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "dataset": name,
        "split": split,
        "pictures": len(data),
        "accuracy": result.accuracy,
        "top5": result.top5,
        "loss": result.loss if np.isfinite(result.loss) else None,
        "classes": _classes(data, result),
        "confusion": result.confusion.tolist(),
    }


def _classes(data: Dataset, result: EvalResult) -> list[dict[str, Any]]:
    """What the confusions say of each class. A share of nothing is None."""
    lines = []
    for i, name in enumerate(data.classes):
        right = int(result.confusion[i, i])
        pictures, called = int(result.confusion[i].sum()), int(result.confusion[:, i].sum())
        wrong = result.confusion[i].copy()  # (K,)
        wrong[i] = 0
        j = int(wrong.argmax())
        lines.append(
            {
                "class": name,
                "pictures": pictures,
                "recall": right / pictures if pictures else None,
                "precision": right / called if called else None,
                "taken_for": data.classes[j] if wrong[j] else None,
                "taken_for_count": int(wrong[j]),
            }
        )
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
