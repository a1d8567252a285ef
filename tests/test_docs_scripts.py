"""The scripts of docs/ that record runs and put models into the package, on a small run; and the pages they write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import levit_ref
from levit_ref.checkpoints import load_model
from levit_ref.data import Augmentation, load_dataset
from levit_ref.training import RunFolder, TrainConfig, evaluate, train

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make_pretrained(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return import_module("make_pretrained")


@pytest.fixture
def make_results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return import_module("make_results")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of two epochs on a few generated pictures."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    config = TrainConfig.resolve(
        {"model": "levit_250k_32px", "epochs": 2, "train_size": 256, "test_size": 64, "batch_size": 64, "seed": 1}
    )
    command = (
        f"levit-ref train --data-dir '/my files/x' --model levit_250k_32px --out={folder} --epochs 2 --out {folder}"
    )
    train(config, folder, command=command)
    yield RunFolder(folder)


def test_pages_say_what_the_files_say(make_pretrained: ModuleType) -> None:
    for page, what in zip(make_pretrained.PAGES, ("table", "details"), strict=True):
        text = page.read_text(encoding="utf-8")
        assert f"<!-- pretrained: {what} -->\n" in text
        assert make_pretrained.filled(text) == text, f"{page}: run docs/make_pretrained.py"
        for name in levit_ref.list_pretrained():
            assert name in text


def test_a_run_becomes_a_file(
    make_pretrained: ModuleType,
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(make_pretrained, "BOX", tmp_path)
    monkeypatch.setattr(make_pretrained, "load_dataset", lambda *a, **k: load_dataset(*a, **k, size=500))
    make_pretrained.make(run, None, "drawings")
    (file,) = tmp_path.iterdir()
    assert file.name == "levit_250k_32px-shapes.safetensors"
    assert file.stat().st_size < run.best.stat().st_size * 0.55

    model, about = load_model(file)
    _, before = load_model(run.best)
    test = load_dataset("shapes", "test", size=500)
    result = evaluate(model, test, augmentation=Augmentation(mean=about.mean, std=about.std))
    assert about.accuracy == result.accuracy  # of these rounded weights
    assert (about.class_names, about.mean, about.std) == (before.class_names, before.mean, before.std)
    assert about.training == {
        "commands": ["levit-ref train --model levit_250k_32px --epochs 2"],
        "version": levit_ref.__version__,
        "backend": json.loads(run.run.read_text())["sessions"][0]["backend"],
        "epochs": 2,
        "epoch": about.training["epoch"],
        "minutes": pytest.approx(0, abs=1),
        "pictures": "drawings",
        "test_pictures": 500,
        "accuracy_before_rounding": pytest.approx(about.accuracy, abs=0.02),
    }
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    best = {record["epoch"]: max(record["test_accuracy"], record["ema_test_accuracy"] or 0) for record in records}
    assert about.training["epoch"] in best
    assert best[about.training["epoch"]] == before.accuracy == max(best.values())
    assert f"{about.accuracy:.4f} after" in capsys.readouterr().out


def test_no_place_on_a_machine_is_written_down(make_pretrained: ModuleType) -> None:
    command = "levit-ref train --data-dir /data/cifar --out=/tmp/run --resume /home/me/runs/best --epochs 3"
    assert make_pretrained._portable(command) == "levit-ref train --resume best --epochs 3"


def test_a_file_that_is_too_large_does_not_stay(
    make_pretrained: ModuleType, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_pretrained, "BOX", tmp_path)
    monkeypatch.setattr(make_pretrained, "MOST_BYTES", 100_000)
    monkeypatch.setattr(make_pretrained, "load_dataset", lambda *a, **k: load_dataset(*a, **k, size=50))
    with pytest.raises(SystemExit, match=r"more than 100,000; it was removed"):
        make_pretrained.make(run, None, "")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_recorded_and_gets_its_row(
    make_results: ModuleType, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    head = "# Runs\n\n| run | pictures | backend | epochs | wall time | test accuracy |\n|---|---|---|---|---|---|\n"
    old = "| [old](old) | x | y | 1 | 2 min | 3 % |\n"
    page.write_text(f"{head}{old}\nText.\n")
    for _ in range(2):  # the second time the row is replaced
        monkeypatch.setattr("sys.argv", ["make_results.py", str(run.path), str(tmp_path / "new"), "--pictures", "some"])
        make_results.main()
    last = json.loads(run.metrics.read_text().splitlines()[-1])
    accuracy = 100 * max(last["test_accuracy"], last["ema_test_accuracy"] or 0)
    backend = json.loads(run.run.read_text())["sessions"][0]["backend"]
    assert page.read_text() == f"{head}{old}| [new](new) | some | {backend} | 2 | 0 min | {accuracy:.1f} % |\n\nText.\n"
    assert {p.name for p in (tmp_path / "new").iterdir()} == {
        "config.toml",
        "confusion.png",
        "curves.png",
        "metrics.jsonl",
    }
    with pytest.raises(ValueError, match="no table"):
        make_results.with_row("# Nothing\n", old)
