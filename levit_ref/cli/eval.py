"""``levit-ref eval``: how good a trained model is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from levit_ref.checkpoints import load_checkpoint
from levit_ref.cli.errors import CommandError, Debug
from levit_ref.cli.model_option import DEFAULT, MODEL_HELP, ModelOption, one_model
from levit_ref.cli.options import with_default
from levit_ref.cli.output import console, print_json, printable, table
from levit_ref.data import Dataset, list_datasets, load_dataset
from levit_ref.evaluation import EvalResult, NonFiniteLogitsError, check_classes, evaluate
from levit_ref.training.plots import plot_confusion


def command(
    trained: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help=with_default(MODEL_HELP, DEFAULT), show_default=False),
    ] = None,
    model: ModelOption = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help=with_default(f"{list_datasets()}.", "the dataset that the model was trained on"), show_default=False
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the files of the dataset are.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    test_size: Annotated[
        int | None, typer.Option(min=1, help=with_default("Number of pictures to use.", "all"), show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once; it has no influence on the result.")] = 256,
    confusion: Annotated[
        Path | None,
        typer.Option(help="Draw which classes are mistaken for which, into this PNG file.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Evaluate a trained model: accuracy, top-5 accuracy, loss, and every class.

    Pictures are prepared as in the model's training. Ties count as wrong.
    """
    if confusion is not None and not confusion.parent.is_dir():  # before the work, not after it
        raise FileNotFoundError(f"--confusion {confusion}: the folder {confusion.parent} does not exist")
    source = one_model(trained, model) or DEFAULT
    checkpoint = load_checkpoint(source)
    about = checkpoint.about
    name = dataset or about.dataset
    if not name:
        raise ValueError(f"{source}: does not say what it was trained on; choose with --dataset")
    data = load_dataset(name, split, data_dir, preprocessing=about.preprocessing, size=test_size)
    try:
        check_classes(about, data.classes)
    except ValueError as error:
        raise ValueError(f"{source} on {name}: {error}") from None
    bar = Console(stderr=True)
    try:
        with Progress(console=bar, transient=True, disable=not bar.is_terminal) as progress:
            task = progress.add_task("evaluating", total=len(data))
            result = evaluate(
                checkpoint,
                data,
                batch_size=batch_size,
                on_batch=lambda done, total: progress.update(task, completed=done),
            )
    except NonFiniteLogitsError as error:
        raise CommandError(f"{source}: {error}") from error
    if json:
        print_json(_as_data(source, name, split, data, result))
    else:
        _print_result(source, name, split, data, result)
    if confusion is not None:
        plot_confusion(confusion, result.confusion, data.classes)


def _print_result(model: str, name: str, split: str, data: Dataset, result: EvalResult) -> None:
    out = console()
    rows = table("class", "most often mistaken for", "pictures", "recall", "precision", left=2)
    for line in _classes(data, result):
        taken = f"{printable(line['taken_for'])} ({line['taken_for_count']})" if line["taken_for"] else ""
        rows.add_row(
            printable(line["class"]),
            taken,
            f"{line['pictures']:,}",
            _percent(line["recall"]),
            _percent(line["precision"]),
        )
    out.print(rows)
    out.print(f"\n{model} on {name}, {split}, {len(data):,} pictures", soft_wrap=True)
    out.print(f"accuracy {result.accuracy:.2%}   top-5 {result.top5:.2%}   loss {result.loss:.4f}", style="bold")


def _as_data(model: str, name: str, split: str, data: Dataset, result: EvalResult) -> dict[str, Any]:
    return {
        "model": model,
        "dataset": name,
        "split": split,
        "pictures": len(data),
        "accuracy": result.accuracy,
        "top5": result.top5,
        "loss": result.loss,
        "classes": _classes(data, result),
        "confusion": result.confusion.tolist(),
    }


def _classes(data: Dataset, result: EvalResult) -> list[dict[str, Any]]:
    """What the confusions say about each class. A share of nothing is None."""
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
