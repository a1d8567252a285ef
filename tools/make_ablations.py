"""Train the paper's ablations at small scale, and record what each costs in accuracy.

    python tools/make_ablations.py runs/ablations --data-dir DATA
    python tools/make_ablations.py runs/ablations --data-dir DATA --only base a5_no_attention_bias --seeds 0

Each network is trained for a few epochs on CIFAR-10, with several seeds and the same settings for all. A run has a
folder of its own, as of ``levit-ref train``; one that is there already is gone on with or, if it is done, read: so the
script can be stopped and started again. ``docs/results/ablations.json`` has what notebook 9 draws: the settings, the
size of each network, and the accuracy of each run after its last epoch.

The small networks have one head, so that their base *is* ablation A4 (no distillation). The question is asked the
other way round here: ``teacher`` is the base with a second head, which learns from the model that comes with the
package.
"""

from __future__ import annotations

import argparse
import json
from importlib import resources
from pathlib import Path
from typing import Any

import levit_ref
from levit_ref.inspection import count_macs, count_parameters
from levit_ref.training import Progress, RunFolder, TrainConfig, train

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "ablations.json"
BASE = "levit_250k_32px"
TEACHER = "levit_1m_32px-cifar10"
SETTINGS = {"dataset": "cifar10", "epochs": 5, "ema_decay": 0.0, "eval_every": 5}
"""The same for all; everything else is the default of the dataset."""


def variants() -> dict[str, str]:
    """The variant of each bar. A4 has none of its own, see above."""
    ablations = {name.removeprefix(f"{BASE}_"): name for name in levit_ref.list_models(f"{BASE}_a")}
    del ablations["a4_no_distillation"]
    return {"base": BASE, **ablations, "teacher": BASE}


def config_of(what: str, seed: int, changes: dict[str, Any]) -> TrainConfig:
    """Settings of one run."""
    own: dict[str, Any] = {"model": variants()[what], "seed": seed}
    if what == "teacher":
        own |= {"two_heads": True, "teacher": str(resources.files("levit_ref.pretrained") / f"{TEACHER}.safetensors")}
    return TrainConfig(**{**SETTINGS, **changes, **own})


def finished(folder: RunFolder, config: TrainConfig) -> dict[str, Any] | None:
    """The last line of metrics if the run is done; one that was made with other settings is refused."""
    if not folder.metrics.exists():
        return None
    places = {name: getattr(config, name) for name in ("data_dir", "teacher", "backend")}
    if folder.read_config().replace(**places) != config:
        raise SystemExit(f"{folder.path}: holds a run with other settings; choose another folder of runs")
    (*_, last) = map(json.loads, folder.metrics.read_text(encoding="utf-8").splitlines())
    return last if last["epoch"] == config.epochs else None


def run(folder: RunFolder, config: TrainConfig, progress: Progress) -> dict[str, Any]:
    """Train, or go on; what is worth keeping of the run."""
    last = finished(folder, config)
    if last is None:
        result = train(config, folder.path, resume=folder.holds_a_run, progress=progress)
        if result.signal is not None:
            raise SystemExit(result.exit_status)
        last = finished(folder, config)
        assert last is not None
    return {
        "seed": config.seed,
        "train_accuracy": last["train_accuracy"],
        "test_accuracy": last["test_accuracy"],
        "minutes": round(last["seconds"] / 60, 1),
    }


def size_of(what: str) -> dict[str, Any]:
    """Parameters and multiply-adds of a network that classifies: with two heads, both."""
    model = levit_ref.create_model(variants()[what], num_classes=10, distillation=what == "teacher")
    return {"model": model.config.name, "parameters": count_parameters(model), "macs": count_macs(model)}


def read_results(results: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What is recorded so far, which must have been made with the same settings."""
    if not results.exists():
        return {"settings": settings, "networks": {}}
    document: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    if document["settings"] != settings:
        raise SystemExit(f"{results}: made with {document['settings']}, and now it is {settings}; delete it first")
    return document


def record(results: Path, what: str, outcome: dict[str, Any], settings: dict[str, Any]) -> None:
    """Put one run into the file, in place of the one with the same seed."""
    document = read_results(results, settings)
    networks = document["networks"]
    entry = networks.setdefault(what, {}) | size_of(what)
    runs = {run["seed"]: run for run in [*entry.get("runs", []), outcome]}
    networks[what] = entry | {"runs": [runs[seed] for seed in sorted(runs)]}
    document["networks"] = {name: networks[name] for name in variants() if name in networks}
    results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train all that is asked for, one seed after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of the runs' folders")
    parser.add_argument("--data-dir", type=Path, help="where the dataset's files are")
    parser.add_argument("--only", nargs="+", choices=list(variants()), metavar="NAME", help=", ".join(variants()))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pictures", help="what to call the pictures, if the dataset's name does not say it")
    args = parser.parse_args()
    settings = SETTINGS | ({"pictures": args.pictures} if args.pictures else {})
    read_results(RESULTS, settings)  # before anything is trained
    for seed in args.seeds:
        for what in args.only or variants():
            folder = RunFolder(args.runs / f"{what}-{seed}")
            config = config_of(what, seed, {"data_dir": None if args.data_dir is None else str(args.data_dir)})
            outcome = run(folder, config, Progress())
            record(RESULTS, what, outcome, settings)
            print(f"{what}, seed {seed}: {100 * outcome['test_accuracy']:.2f} % of the test pictures", flush=True)


if __name__ == "__main__":
    main()
