"""The benchmarks run, on the smallest network and for one turn each; no time is asserted."""

import json
import re
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import levit_ref

ROOT = Path(__file__).resolve().parent.parent
TINY = ["--model", "levit_250k_32px", "--batch", "2"]
AVAILABLE = [backend.name for backend in levit_ref.backends() if backend.available]
HAS_NATIVE = "native" in AVAILABLE


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Their folder is where Python looks; the numbers of threads afterwards are those before."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    torch_threads, threads = torch.get_num_threads(), levit_ref.num_threads() if HAS_NATIVE else 1
    yield
    torch.set_num_threads(torch_threads)
    if HAS_NATIVE:
        levit_ref.set_num_threads(threads)


def run(name: str, folder: Path, *options: str) -> dict[str, Any]:
    """Run a benchmark; returns the record that it wrote."""
    record, plot = folder / "record.json", folder / "plot.svg"
    common: Any = import_module("common")
    returned = common.run(import_module(name), [*options, "--turns", "1", "--json", str(record), "--plot", str(plot)])
    assert "<svg" in plot.read_text()
    read: dict[str, Any] = json.loads(record.read_text())
    assert read == json.loads(json.dumps(returned))
    assert read["command"].startswith("python benchmarks/")
    assert "--json" not in read["command"]
    return read


def test_peak() -> None:
    peak: Any = import_module("peak")
    gflops, how = peak.measure_peak(1, seconds=0.02)
    assert gflops > 0
    assert how


def test_gemm(tmp_path: Path) -> None:
    record = run("gemm", tmp_path, *TINY, "--smallest", "0.1")
    assert {row["product"] for row in record["rows"]} == {"forward", "dx", "dW"}
    assert all(("native" in row["seconds"]) == HAS_NATIVE for row in record["rows"])


@pytest.mark.parametrize("options", [["--only", "attention"], ["--only", "[cgp]*", "--all"]])
def test_ops(tmp_path: Path, options: list[str]) -> None:
    record = run("ops", tmp_path, *TINY, "--all", *options)
    assert record["rows"]
    assert "update" not in record  # the pattern asks for other operations
    for row in record["rows"]:
        assert set(AVAILABLE) <= set(row["seconds"])
        assert any(name.startswith("PyTorch") for name in row["seconds"])


def test_train_step(tmp_path: Path) -> None:
    record = run("train_step", tmp_path, *TINY, "--no-compile")
    assert {"NumPy", "PyTorch eager"} <= set(record["seconds"])
    rows = {row["operation"]: row for row in record["breakdown"]["rows"]}
    assert rows["linear_forward"]["calls"] == rows["linear_backward"]["calls"] == 14
    assert rows["AdamW"]["seconds"] > 0
    assert rows["linear_forward"]["gflop"] > 0


def test_memory(tmp_path: Path) -> None:
    record = run("memory", tmp_path, *TINY)
    assert set(record["bytes"]) == {"NumPy", "PyTorch eager"} | ({"native"} if HAS_NATIVE else set())
    assert all(row["peak"] >= row["before"] > 0 for row in record["bytes"].values())


def test_end_to_end(tmp_path: Path) -> None:
    record = run("end_to_end", tmp_path, "--model", "levit_250k_32px", "--batch", "2", "--steps", "2")
    benchmark: Any = import_module("end_to_end")
    assert {name: len(speeds) for name, speeds in record["images_per_second"].items()} == {
        "bare step": 1,
        "levit-ref train": 1,
    }
    assert record["training_relative_to_bare_step"] > 0
    assert {"clipping (agc)", "moving average"} <= set(record["seconds_in_a_step"])
    with pytest.raises(SystemExit, match="clock wall"):
        benchmark.measure(Namespace(clock="cpu"))


def test_inspection(tmp_path: Path) -> None:
    record = run("inspection", tmp_path, *TINY)
    assert record["peak"] >= record["announced"] > 0
    assert {"plain forward pass", "nothing", "everything"} <= set(record["seconds"]["NumPy"])


def test_gemm_steps(tmp_path: Path) -> None:
    options = ["--shape", "16", "32", "8"]
    if not HAS_NATIVE:
        with pytest.raises(SystemExit, match="not built"):
            run("gemm_steps", tmp_path, *options)
        return
    record = run("gemm_steps", tmp_path, *options)
    benchmark: Any = import_module("gemm_steps")
    assert len(record["steps"]) == len(benchmark.STEPS)
    assert benchmark.sentence(record, 2).startswith("**")


def test_operations_of_a_step_are_recorded_with_their_gradients() -> None:
    recording: Any = import_module("recording")
    steps: Any = import_module("steps")
    step = steps.OurStep(steps.Task("levit_250k_32px", None, 2), "numpy")
    cases = recording.record_cases(step.gradients)
    attention = [case for case in cases if case.operation == "attention"]
    assert [case.args[0].shape[2] for case in attention] == [64, 16, 16]  # queries: stage, passage, stage
    assert all(case.dy is not None for case in cases)
    first = next(case for case in cases if case.operation == "conv2d")
    assert first.backward_kwargs == {"need_dx": False}
    macs = sum(case.calls * case.multiply_adds for case in cases)
    softmax = sum(case.calls * case.args[0][..., 0].size * case.args[1].shape[2] for case in attention)
    assert macs + softmax == 2 * levit_ref.inspection.count_macs(
        step.model
    )  # the ledger counts a softmax's entries as well


def test_the_pages_say_what_was_measured() -> None:
    """Every table and plot on the pages is one of a record; every record and every plot of one is on a page."""
    refresh: Any = import_module("refresh_docs")
    shown: set[str] = set()
    used: set[str] = set()
    for path in refresh.PAGES:
        page = path.read_text(encoding="utf-8")
        assert refresh.filled(page) == page, f"{path.name}: python benchmarks/refresh_docs.py --tables-only"
        assert "*Not measured yet" not in page
        shown.update(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page))
        used.update(name for _, name, _, _ in refresh.BLOCK.findall(page))
        for table in re.findall(r"(?:^\|.*\n)+", refresh.BLOCK.sub("", page), re.MULTILINE):
            assert table.startswith("| page | the question |"), table  # of contents: all others have a record
    drawn = {f"{name}.svg" for name in refresh.RUNS if refresh.record_of(name)}
    assert all((refresh.RECORDS / name).exists() for name in drawn)
    assert shown and shown <= drawn
    assert used == set(refresh.RUNS)
