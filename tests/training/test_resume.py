"""Killed at any moment and resumed, a run ends at the same bits as one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from levit_ref.checkpoints import CheckpointError, read_file
from levit_ref.training import TrainConfig
from levit_ref.training.metrics import TIMING_FIELDS, read_metrics
from tests.training.tiny_run import run, tiny_config

ROOT = Path(__file__).parents[2]
STEPS = 21  # 3 epochs of 7 batches


def start(folder, *options):
    """The tiny run as a process of its own."""
    command = [sys.executable, "-m", "tests.training.tiny_run", str(folder), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_for_step(process, step):
    """Read until the process reports that step (or a later one), or ends."""
    for line in process.stdout:
        if line.startswith("step ") and int(line.split()[1]) >= step:
            return


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of a run in a process of its own that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    process = start(folder)
    process.communicate()
    assert process.returncode == 0
    return folder


def assert_same_run(folder, reference):
    """Equal but for the clock: tensors, state, best model, metrics."""
    tensors, metadata = read_file(folder / "last.safetensors")
    expected_tensors, expected_metadata = read_file(reference / "last.safetensors")
    assert tensors.keys() == expected_tensors.keys()
    for name, array in expected_tensors.items():
        assert tensors[name].tobytes() == array.tobytes(), name
    for document in (metadata, expected_metadata):
        del document["training"]["state"]["seconds"]
    assert metadata == expected_metadata
    assert (folder / "best.safetensors").read_bytes() == (reference / "best.safetensors").read_bytes()
    assert untimed(folder) == untimed(reference)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(reference))


def untimed(folder):
    """The metrics without the clock's."""
    return [
        {k: v for k, v in record.items() if k not in TIMING_FIELDS} for record in read_metrics(folder / "metrics.jsonl")
    ]


def test_killed_again_and_again(tmp_path, uninterrupted):
    rng = np.random.default_rng(0)
    folder = tmp_path / "run"
    kills, done, options = 0, 0, []
    while True:
        process = start(folder, *options)
        target = done + int(rng.integers(2, 7))
        wait_for_step(process, target)
        # a moment later: in a step, an evaluation, or while a file is written
        timer = threading.Timer(float(rng.uniform(0, 0.1)), process.kill)
        timer.start()
        process.communicate()
        timer.cancel()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills, done = kills + 1, target
        options = ["--resume"]
    assert kills >= 2
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize("count", [1, 3])
def test_killed_between_writing_a_checkpoint_and_renaming_it(tmp_path, uninterrupted, count):
    folder = tmp_path / "run"
    process = start(folder, "--die-at", str(count))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert [name for name in os.listdir(folder) if name.endswith(".tmp")]
    assert (folder / "last.safetensors").exists() == (count > 1)
    process = start(folder, "--resume")
    process.communicate()
    assert process.returncode == 0
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_say_how_to_resume_and_lose_no_step(tmp_path, uninterrupted, number, status):
    folder = tmp_path / "my run"
    process = start(folder)
    wait_for_step(process, 5)
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == status
    assert f"continue with: levit-ref train --resume '{folder}'" in output
    saved = read_file(folder / "last.safetensors")[1]["training"]["state"]["step"]
    assert f"stopped after step {saved}" in output and saved >= 5
    process = start(folder, "--resume")
    process.communicate()
    assert process.returncode == 0
    assert_same_run(folder, uninterrupted)


def test_resuming_a_finished_run_changes_nothing(uninterrupted):
    before = (uninterrupted / "last.safetensors").read_bytes()
    result = run(uninterrupted, resume=True)
    assert (result.exit_status, result.steps, result.epochs) == (0, STEPS, 3)
    assert (uninterrupted / "last.safetensors").read_bytes() == before


def test_the_settings_must_be_the_same(uninterrupted):
    with pytest.raises(CheckpointError, match=r"other settings: lr = 0.005 there, 0.001 now"):
        run(uninterrupted, resume=True, lr=1e-3)


def test_settings_without_influence_may_change(uninterrupted):
    assert run(uninterrupted, resume=True, workers=0, checkpoint_every_steps=1).exit_status == 0


def test_the_loader_s_threads_have_no_influence(tmp_path, uninterrupted):
    run(tmp_path / "run", workers=0, checkpoint_every_steps=0)
    ours, theirs = (read_file(f / "last.safetensors")[0] for f in (tmp_path / "run", uninterrupted))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path / "run", epochs=1)
    last = tmp_path / "run" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"last\.safetensors: not a safetensors file, or one that was cut short"):
        run(tmp_path / "run", resume=True, epochs=1)


def test_only_the_full_state_can_be_resumed(tmp_path):
    run(tmp_path / "run", epochs=1)
    (tmp_path / "run" / "best.safetensors").replace(tmp_path / "run" / "last.safetensors")
    with pytest.raises(CheckpointError, match="holds a model but no training state"):
        run(tmp_path / "run", resume=True, epochs=1)


def test_no_run_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run to resume"):
        run(tmp_path, resume=True)


def test_a_run_is_never_overwritten(tmp_path, uninterrupted):
    with pytest.raises(FileExistsError, match="already holds a run; continue it with --resume"):
        run(uninterrupted)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not an empty folder"):
        run(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_two_processes_in_one_folder(tmp_path):
    from levit_ref.training import RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.create(tiny_config())
    with folder.locked(), pytest.raises(FileExistsError, match="another process is training in this folder"):
        run(tmp_path / "run", resume=True)


def test_a_run_may_be_prolonged_but_not_shortened(tmp_path):
    folder = tmp_path / "run"
    assert run(folder).epochs == 3
    assert run(folder, resume=True, epochs=5).epochs == 5
    assert TrainConfig.load(folder / "config.toml").epochs == 5
    rates = [json.loads(line)["lr"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rates) == 5
    assert rates[3] > rates[2] and rates[4] < rates[3]  # from the longer schedule, to its end
    with pytest.raises(CheckpointError, match="epochs = 5 there, 3 now"):
        run(folder, resume=True)
