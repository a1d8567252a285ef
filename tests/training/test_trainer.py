"""What a run leaves behind, and that it learns."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from levit_ref.checkpoints import load_checkpoint
from levit_ref.data import DATASETS
from levit_ref.evaluation import evaluate
from levit_ref.nn import LeViT
from levit_ref.nn.memory import GIVEN_BACK, current_pass
from levit_ref.runtime import BACKENDS, describe_backend, get_backend
from levit_ref.training import Progress, TrainConfig
from levit_ref.training.metrics import MetricsLog, read_metrics
from tests.training.tiny_run import CLASSES, datasets, run, tiny_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory, module_monkeypatch):
    """Folder and result of a run that had time to learn."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, run(folder, epochs=12, mixup=0.0, eval_every=5)


@pytest.fixture(scope="module")
def module_monkeypatch():
    """The tiny variant for the fixture above, which outlives a single test."""
    from levit_ref import configs
    from tests.training.tiny_run import VARIANT

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.VARIANTS, VARIANT.name, VARIANT)
        yield patch


def test_it_learns(finished):
    _, result = finished
    assert result.best_accuracy > 0.9
    assert (result.exit_status, result.signal, result.epochs, result.steps) == (0, None, 12, 84)


def test_the_folder(finished):
    folder, _ = finished
    expected = {"config.toml", "run.json", "metrics.jsonl", "last.safetensors", "best.safetensors"}
    assert set(os.listdir(folder)) - {".lock"} == expected | {"curves.png", "confusion.png"}
    expected_config = tiny_config(epochs=12, mixup=0.0, eval_every=5, backend=get_backend())
    assert TrainConfig.load(folder / "config.toml") == expected_config
    session = json.loads((folder / "run.json").read_text())["sessions"][0]
    assert session["numpy"] == np.__version__ and "blas" in session and "threads" in session
    for name in ("curves.png", "confusion.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 300 and len(picture.convert("L").getcolors()) > 20


def test_the_metrics(finished):
    folder, _ = finished
    records = read_metrics(folder / "metrics.jsonl")
    assert [record["epoch"] for record in records] == list(range(1, 13))
    assert [record["step"] for record in records] == list(range(7, 85, 7))
    tested = [record["epoch"] for record in records if record["test_accuracy"] is not None]
    assert tested == [5, 10, 12]
    assert all(record["ema_test_accuracy"] is not None for record in records if record["epoch"] in tested)
    assert records[-1]["train_loss"] < records[0]["train_loss"]


def test_the_best_checkpoint_has_the_accuracy_it_claims(finished):
    folder, result = finished
    checkpoint = load_checkpoint(folder / "best.safetensors")
    about = checkpoint.about
    again = evaluate(checkpoint, datasets().test, batch_size=16)
    assert again.accuracy == about.accuracy == result.best_accuracy
    assert about.class_names == CLASSES and about.preprocessing == DATASETS["shapes"].preprocessing(16)
    tested = [
        max(r["test_accuracy"], r["ema_test_accuracy"])
        for r in read_metrics(folder / "metrics.jsonl")
        if r["test_loss"]
    ]
    assert result.best_accuracy == max(tested)


def test_the_last_checkpoint_is_a_model_too(finished):
    folder, _ = finished
    again = evaluate(load_checkpoint(folder / "last.safetensors"), datasets().test, batch_size=16)
    assert again.accuracy == read_metrics(folder / "metrics.jsonl")[-1]["test_accuracy"]


@pytest.mark.parametrize(
    "changes", [{"clip_mode": "none"}, {"clip_mode": "norm", "clip_value": 1.0}, {"two_heads": True}]
)
def test_other_settings(tmp_path, changes):
    result = run(tmp_path / "run", epochs=1, ema_decay=0.0, **changes)
    record = read_metrics(tmp_path / "run" / "metrics.jsonl")[0]
    assert result.exit_status == 0 and record["ema_test_accuracy"] is None


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, epochs=1, seed=seed)
    a, b, c = (load_checkpoint(tmp_path / name / "last.safetensors").model.flat_data for name in "abc")
    assert a.tobytes() == b.tobytes() != c.tobytes()


def test_a_step_gives_memory_back_as_it_goes(tmp_path, monkeypatch):
    kept = []
    backward = LeViT.backward_heads

    def noting(model, *gradient):
        assert backward(model, *gradient) is None  # nor is there a gradient of the images
        here = [(name, current_pass().remembered(module)) for name, module in model.named_modules()]
        kept.append([name for name, saved in here if saved is not None and saved is not GIVEN_BACK])

    monkeypatch.setattr(LeViT, "backward_heads", noting)
    run(tmp_path / "run", epochs=1)
    assert kept == [[]] * 7


def test_a_backend_that_is_not_here_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.delitem(BACKENDS, "native", raising=False)
    with pytest.raises(ValueError, match="there is no backend 'native' here"):
        run(tmp_path / "run", backend="native")
    assert not (tmp_path / "run").exists()


def test_plain_lines_in_a_log(tmp_path):
    log = io.StringIO()
    run(tmp_path / "run", epochs=2, progress=Progress(Console(file=log, width=200), line_every_seconds=0))
    lines = log.getvalue().splitlines()
    assert lines[0] == f"backend {describe_backend()}"
    assert "\x1b" not in log.getvalue()
    assert sum("step" in line for line in lines) == 14
    finished = [line for line in lines if line.startswith(("epoch 1/2", "epoch 2/2"))]
    assert len(finished) == 2 and all("test loss" in line and "ema acc" in line and "left" in line for line in finished)


def test_a_bar_on_a_terminal(tmp_path):
    screen = io.StringIO()
    run(tmp_path / "run", epochs=1, progress=Progress(Console(file=screen, width=120, force_terminal=True)))
    assert "7/7" in screen.getvalue() and "images/s" in screen.getvalue()


def test_metrics_are_trimmed_to_the_checkpoint(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for epoch in (1, 2, 3):
        log.append({"epoch": epoch, "loss": 1 / epoch})
    log.trim(2)
    again = MetricsLog(tmp_path / "metrics.jsonl")
    again.read()
    assert again.records == log.records == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write("{half a line")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 3 is not JSON"):
        read_metrics(tmp_path / "metrics.jsonl")
