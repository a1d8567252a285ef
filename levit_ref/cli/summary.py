"""``levit-ref summary``: what every component of a model costs."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.table import Table

from levit_ref.checkpoints import load_checkpoint, looks_like_a_path
from levit_ref.cli.errors import Debug
from levit_ref.cli.model_option import ModelArgument, ModelOption, one_model
from levit_ref.cli.options import image_size_option, with_default
from levit_ref.cli.output import console, print_json, table
from levit_ref.configs import VARIANTS, create_model
from levit_ref.evaluation.published import IMAGE_SIZE, NUM_CLASSES, PUBLISHED, PublishedCost
from levit_ref.inspection.ledger import Ledger, LedgerRow, cost_ledger
from levit_ref.nn import LeViT
from levit_ref.pretrained import list_pretrained
from levit_ref.runtime import describe_backend


def command(
    which: ModelArgument = None,
    model: ModelOption = None,
    list_variants: Annotated[bool, typer.Option("--list", help="List the variants and leave.")] = False,
    num_classes: Annotated[
        int | None,
        typer.Option(min=1, help=with_default("Classes of a variant.", str(NUM_CLASSES)), show_default=False),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|HxW",
            help=with_default("Pixels of a variant's images.", "what it is meant for"),
            show_default=False,
        ),
    ] = None,
    time: Annotated[bool, typer.Option("--time", help="Measure the time of each component too.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a timed batch.")] = 1,
    repetitions: Annotated[int, typer.Option(min=1, help="Timed passes, of which the median is shown.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what every component of a model costs.

    The ledger has output shape, parameters, multiply-adds (as the official code counts them), bytes of activations,
    and on request measured time. The paper's totals are shown for comparison.
    """
    if list_variants:
        _print_variants(json)
        return
    source = one_model(which, model)
    if source is None:
        raise ValueError("summary needs a MODEL: a variant's name (--list shows them) or a trained model")
    network = _network(source, num_classes, image_size)
    ledger = cost_ledger(network, batch_size=batch_size if time else None, repetitions=repetitions)
    if json:
        print_json(_as_data(network, ledger))
    else:
        _print_ledger(network, ledger)


def _network(source: str, num_classes: int | None, image_size: str | None) -> LeViT:
    """A variant, of the size that the options say, or a trained model."""
    trained = source in list_pretrained() or looks_like_a_path(source)
    if source in VARIANTS or not trained:  # where it is neither, the error names the nearest variants
        size = None if image_size is None else image_size_option(image_size)
        return create_model(source, num_classes=NUM_CLASSES if num_classes is None else num_classes, image_size=size)
    if num_classes is not None or image_size is not None:
        raise ValueError(f"{source}: --num-classes and --image-size are for variants; a trained model has its own")
    return load_checkpoint(source).model


# --- as a table -------------------------------------------------------------------------------------------------------


def _print_ledger(model: LeViT, ledger: Ledger) -> None:
    timed = ledger.microseconds is not None
    rows = table("component", "output", "parameters", "madds M", "act. KiB", *(["time µs"] if timed else []))
    for group, members in groupby(ledger.rows, key=_group):
        part = list(members)
        if len(part) > 1 or part[0].name != group:
            rows.add_row(group, "", *_numbers(part, timed), style="bold")
        for row in part:
            indented = "  " + row.name.removeprefix(f"{group}.") if row.name != group else row.name
            rows.add_row(indented, "x".join(map(str, row.output_shape)), *_numbers([row], timed))
    rows.add_section()
    total = [] if ledger.microseconds is None else [f"{ledger.microseconds:,.0f}"]
    rows.add_row("total", "", *_counts(ledger.rows), *total, style="bold")

    height, width = model.image_size
    heads = "one head" if model.head_dist is None else "two heads"
    out = console()
    out.print(f"{model.config.name}, {height}x{width} pixels, {model.num_classes} classes, {heads}\n")
    out.print(rows)
    out.print("\nmadds M: million multiply-adds for one image, as the official code counts them")
    out.print("act. KiB: all values that are computed for one image")
    if ledger.batch_size is not None:
        out.print(f"time µs: median for a batch of {ledger.batch_size}; backend {describe_backend()}")
    out.print()
    out.print(_totals(model, ledger))


def _group(row: LedgerRow) -> str:
    """The line under which a component stands: ``stem``, ``stages.1``, or itself."""
    first, _, rest = row.name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "stages" else first


def _numbers(rows: list[LedgerRow], timed: bool) -> list[str]:
    times = [row.microseconds for row in rows if row.microseconds is not None]
    return [*_counts(rows), *([f"{sum(times):,.0f}"] if timed else [])]


def _counts(rows: list[LedgerRow] | tuple[LedgerRow, ...]) -> list[str]:
    return [
        f"{sum(row.parameters for row in rows):,}",
        f"{sum(row.macs for row in rows) / 1e6:,.3f}",
        f"{sum(row.activation_bytes for row in rows) / 1024:,.1f}",
    ]


def _totals(model: LeViT, ledger: Ledger) -> Table:
    published = _published(model)
    columns = ["total", "this model"] + (["paper", "difference"] if published else [])
    totals = table(*columns)
    for name, ours, theirs in (
        ("parameters", ledger.parameters, None if published is None else published.parameters),
        ("multiply-adds", ledger.macs, None if published is None else published.macs),
    ):
        beside = [] if theirs is None else [_millions(theirs), _difference(ours, theirs)]
        totals.add_row(name, f"{ours:,}", *beside)
    totals.add_row("activation bytes", f"{ledger.activation_bytes:,}")
    return totals


def _millions(count: float) -> str:
    return f"{count / 1e6:,.1f} M".replace(".0 ", " ")  # with the digits that are published


def _difference(ours: int, theirs: float) -> str:
    return f"{round(ours / theirs - 1, 4) + 0.0:+.2%}"  # + 0.0: never -0.00%


def _published(model: LeViT) -> PublishedCost | None:
    """The paper's figures, if they are about this very model."""
    as_published = (model.num_classes, model.image_size) == (NUM_CLASSES, IMAGE_SIZE)
    unchanged = model.config == VARIANTS.get(model.config.name)
    return PUBLISHED.get(model.config.name) if as_published and unchanged else None


def _print_variants(as_json: bool) -> None:
    if as_json:
        print_json([config.to_dict() for config in VARIANTS.values()])
        return
    rows = table("variant", "image", "channels", "depths", "heads")
    for config in VARIANTS.values():
        lists = ("/".join(map(str, values)) for values in (config.embed_dims, config.depths, config.num_heads))
        rows.add_row(config.name, str(config.image_size), *lists)
    console().print(rows)


# --- as data ----------------------------------------------------------------------------------------------------------


def _as_data(model: LeViT, ledger: Ledger) -> dict[str, Any]:
    published = _published(model)
    return {
        "model": model.config.name,
        "num_classes": model.num_classes,
        "image_size": list(model.image_size),
        "parameters": ledger.parameters,
        "macs": ledger.macs,
        "activation_bytes": ledger.activation_bytes,
        "batch_size": ledger.batch_size,
        "microseconds": ledger.microseconds,
        "published": None if published is None else asdict(published),
        "components": [asdict(row) for row in ledger.rows],
    }
