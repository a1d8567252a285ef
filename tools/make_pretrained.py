"""Make a model that comes with the package from the best checkpoint of a finished run, and say so in the docs.

    python tools/make_pretrained.py runs/cifar10-levit_1m_32px --data-dir DATA
    python tools/make_pretrained.py                 # only the docs again, from the files that are there

The file is ``levit_ref/pretrained/MODEL-DATASET.safetensors``: weights as float16, and in its metadata the accuracy of
these rounded weights on all test pictures, the commands of the run, and the version. The parts of the README and of
``docs/results/README.md`` between ``<!-- pretrained: WHAT -->`` and ``<!-- end of pretrained -->`` are made from the
files, so that numbers cannot drift apart.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import tempfile
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import levit_ref
from levit_ref.checkpoints import Checkpoint, load_checkpoint, read_about, save_checkpoint
from levit_ref.data import Dataset, load_dataset
from levit_ref.evaluation import evaluate
from levit_ref.inspection import count_parameters
from levit_ref.ops import Array
from levit_ref.training import RunFolder

MOST_BYTES = 4_000_000
BOX = Path(str(resources.files("levit_ref.pretrained")))
ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "results" / "README.md")
BLOCK = re.compile(r"(<!-- pretrained: (\w+) -->\n).*?(<!-- end of pretrained -->)", re.DOTALL)
OF_ONE_MACHINE = {"--data-dir", "--out"}
"""Options of the training's command whose values mean nothing elsewhere."""


def main() -> None:
    """Make the file if a run is given, then the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="folder of the run")
    parser.add_argument("--data-dir", type=Path, help="where the dataset's files are")
    parser.add_argument(
        "--pictures", default="", help="what to call the pictures, if the dataset's name does not say it"
    )
    args = parser.parse_args()
    if args.run is not None:
        make(RunFolder(args.run), args.data_dir, args.pictures)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


# --- the file ---------------------------------------------------------------------------------------------------------


def make(run: RunFolder, data_dir: Path | None, pictures: str) -> None:
    """Round, measure, write, and print what rounding cost."""
    checkpoint = load_checkpoint(run.best)
    about = checkpoint.about
    test = load_dataset(about.dataset, "test", data_dir, preprocessing=about.preprocessing)
    with tempfile.TemporaryDirectory() as folder:
        rounded_file = Path(folder) / "rounded.safetensors"
        save_checkpoint(checkpoint, rounded_file, half=True)
        rounded = load_checkpoint(rounded_file)
    before, after = evaluate(checkpoint, test), evaluate(rounded, test)
    first, second = _logits(checkpoint, test), _logits(rounded, test)
    other = int(np.count_nonzero(first.argmax(axis=1) != second.argmax(axis=1)))

    target = BOX / f"{checkpoint.model.config.name}-{about.dataset}.safetensors"
    training = describe(run, about.accuracy) | {
        "pictures": pictures or about.dataset,
        "test_pictures": len(test),
        "accuracy_before_rounding": before.accuracy,
    }
    known = replace(about, accuracy=after.accuracy, training=training)
    save_checkpoint(Checkpoint(rounded.model, known), target, half=True)  # rounding twice changes nothing
    size = target.stat().st_size
    print(f"{target.name}: {size:,} bytes, {count_parameters(rounded.model):,} parameters")
    print(
        f"logits: between {first.min():.2f} and {first.max():.2f}, rounding changed them by {_largest(first - second)}"
    )
    print(f"accuracy: {before.accuracy:.4f} before rounding, {after.accuracy:.4f} after")
    print(f"{other} of {len(test)} pictures became another class")
    if size > MOST_BYTES:
        target.unlink()
        sys.exit(f"{target.name} had {size:,} bytes, more than {MOST_BYTES:,}; it was removed")


def describe(run: RunFolder, best_accuracy: float | None) -> dict[str, Any]:
    """How the run was done, from its folder."""
    sessions = json.loads(run.run.read_text(encoding="utf-8"))["sessions"]
    records = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    tested = [record for record in records if record["test_accuracy"] is not None]
    best = [r["epoch"] for r in tested if best_accuracy in (r["test_accuracy"], r["ema_test_accuracy"])]
    return {
        "commands": [_portable(session["command"]) for session in sessions],
        "version": sessions[-1]["levit_ref"],
        "backend": sessions[-1].get("backend", ""),
        "epochs": records[-1]["epoch"],
        "epoch": best[0] if best else None,  # of the weights
        "minutes": round(records[-1]["seconds"] / 60, 1),
    }


def _portable(command: str) -> str:
    """The command without places on one machine: options that name one are left out, other paths keep their name."""
    words = shlex.split(command)
    kept = [
        Path(word).name if Path(word).is_absolute() else word
        for before, word in zip(["", *words], words, strict=False)
        if not {word, before, word.split("=")[0]} & OF_ONE_MACHINE
    ]
    return shlex.join(kept)


def _logits(checkpoint: Checkpoint, test: Dataset) -> Array:
    """Of all pictures: (N, K)."""
    parts = np.array_split(np.arange(len(test)), max(1, len(test) // 250))
    model, how = checkpoint.model, checkpoint.preprocessing
    with model.inference():
        return np.concatenate([model(how.normalise(test.batch(part))) for part in parts])


def _largest(difference: Array) -> str:
    return f"{np.abs(difference).max():.2g} at most, {np.sqrt(np.mean(difference**2)):.2g} root mean square"


# --- the docs ---------------------------------------------------------------------------------------------------------


def filled(page: str) -> str:
    """The page with every block made anew from the files."""
    return BLOCK.sub(lambda found: f"{found[1]}{TEXTS[found[2]]()}\n{found[3]}", page)


def table() -> str:
    """One row for each model."""
    rows = ["| name | parameters | file | trained on | test accuracy |", "|---|---|---|---|---|"]
    for name in levit_ref.list_pretrained():
        about = read_about(name)
        parameters = count_parameters(levit_ref.load_pretrained(name))
        size = (BOX / f"{name}.safetensors").stat().st_size / 1e6
        accuracy = _percent(about.accuracy, 1)
        rows.append(f"| `{name}` | {parameters:,} | {size:.1f} MB | {about.training['pictures']} | {accuracy} |")
    return "\n".join(rows)


def details() -> str:
    """How each model was made."""
    return "\n\n".join(_details(name) for name in levit_ref.list_pretrained())


def _details(name: str) -> str:
    about = read_about(name)
    how = about.training
    commands = "\n".join(how["commands"])
    before, after = _percent(how["accuracy_before_rounding"], 2), _percent(about.accuracy, 2)
    epoch = "" if how["epoch"] in (None, how["epochs"]) else f", the weights are those after epoch {how['epoch']}"
    return f"""### {name}

```sh
{commands}
```

{how["epochs"]} epochs in {how["minutes"]:.1f} minutes{epoch}; levit_ref {how["version"]}, backend {how["backend"]}.
Of the {how["test_pictures"]:,} test pictures of {how["pictures"]} the float16 weights get {after} right, the float32
weights of the run {before}. Which epoch's weights were kept was decided on the same pictures, so this is slightly
optimistic."""


def _percent(share: float | None, digits: int) -> str:
    return "unknown" if share is None else f"{100 * share:.{digits}f} %"


TEXTS = {"table": table, "details": details}
"""The kinds of blocks."""


if __name__ == "__main__":
    main()
