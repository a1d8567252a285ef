"""The programs of tools/ that record runs and put models into the package, on a small run; and the pages they write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import levit_ref
from levit_ref.checkpoints import load_checkpoint, read_about
from levit_ref.data import load_dataset
from levit_ref.evaluation import evaluate
from levit_ref.inspection import count_macs, count_parameters
from levit_ref.training import RunFolder, TrainConfig, train

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make_pretrained(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("make_pretrained")


@pytest.fixture
def make_results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("make_results")


@pytest.fixture
def make_ablations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("make_ablations")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of two epochs on a few generated pictures."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    config = TrainConfig(model="levit_250k_32px", epochs=2, train_size=256, test_size=64, batch_size=64, seed=1)
    command = (
        f"levit-ref train --data-dir '/my files/x' --model levit_250k_32px --out={folder} --epochs 2 --out {folder}"
    )
    train(config, folder, command=command)
    yield RunFolder(folder)


def test_pages_say_what_the_files_say(make_pretrained: ModuleType) -> None:
    for page, what in zip(make_pretrained.PAGES, ("table", "details"), strict=True):
        text = page.read_text(encoding="utf-8")
        assert f"<!-- pretrained: {what} -->\n" in text
        assert make_pretrained.filled(text) == text, f"{page}: run tools/make_pretrained.py"
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

    checkpoint, before = load_checkpoint(file), read_about(run.best)
    about = checkpoint.about
    test = load_dataset("shapes", "test", size=500)
    result = evaluate(checkpoint, test)
    assert about.accuracy == result.accuracy  # of these rounded weights
    assert (about.class_names, about.preprocessing) == (before.class_names, before.preprocessing)
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


def test_ablations_are_trained_and_recorded_once(
    make_ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second call reads the runs that are done, adds those that are not, and keeps the order of the chart."""
    results = tmp_path / "ablations.json"
    tiny = {"dataset": "shapes", "epochs": 1, "train_size": 64, "test_size": 50, "batch_size": 32}
    monkeypatch.setattr(make_ablations, "RESULTS", results)
    monkeypatch.setattr(make_ablations, "SETTINGS", tiny)
    trained = []
    monkeypatch.setattr(
        make_ablations, "train", lambda config, *a, **k: trained.append(config.model) or train(config, *a, **k)
    )

    def call(*arguments: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", ["make_ablations.py", str(tmp_path / "runs"), *arguments])
        make_ablations.main()
        document: dict[str, Any] = json.loads(results.read_text())
        return document

    call("--only", "a5_no_attention_bias", "--seeds", "1")
    document = call("--only", "a5_no_attention_bias", "base", "teacher", "--seeds", "0", "1")
    assert trained.count("levit_250k_32px_a5_no_attention_bias") == 2
    assert len(trained) == 6
    assert document["settings"] == tiny
    assert list(document["networks"]) == ["base", "a5_no_attention_bias", "teacher"]
    for what, entry in document["networks"].items():
        assert [run["seed"] for run in entry["runs"]] == [0, 1]
        for run in entry["runs"]:
            last = json.loads((tmp_path / "runs" / f"{what}-{run['seed']}" / "metrics.jsonl").read_text())
            assert run["test_accuracy"] == last["test_accuracy"]
    sizes = {what: (entry["parameters"], entry["macs"]) for what, entry in document["networks"].items()}
    model = levit_ref.create_model("levit_250k_32px", num_classes=10)
    assert sizes["base"] == (count_parameters(model), count_macs(model))
    assert sizes["teacher"][0] == sizes["base"][0] + count_parameters(model.head)
    taught = TrainConfig.load(tmp_path / "runs" / "teacher-0" / "config.toml")
    assert taught.two_heads
    assert Path(taught.teacher or "").name == "levit_1m_32px-cifar10.safetensors"
    with pytest.raises(SystemExit, match="delete it first"):
        call("--only", "base", "--seeds", "2", "--pictures", "others")
    assert len(trained) == 6  # refused before anything was trained
    monkeypatch.setattr(make_ablations, "SETTINGS", tiny | {"lr": 1e-4})
    results.unlink()
    with pytest.raises(SystemExit, match=r"base-0: holds a run with other settings"):
        call("--only", "base", "--seeds", "0")


def test_every_ablation_of_the_paper_has_a_bar(make_ablations: ModuleType) -> None:
    assert [name[:2] for name in make_ablations.variants()] == ["ba", "a1", "a2", "a3", "a5", "a6", "a7", "te"]


def test_the_page_of_settings_is_that_of_the_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool: Any = import_module("make_settings")
    text = tool.PAGE.read_text(encoding="utf-8")
    assert "| `epochs` |" in text
    assert tool.filled(text) == text, "python tools/make_settings.py"
