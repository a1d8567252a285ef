from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import levit_ref
from levit_ref.checkpoints import About, Checkpoint, save_checkpoint
from levit_ref.cli import app
from levit_ref.data import DATASETS, load_dataset

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run the command line in this process: ``run("summary", "--list")``."""
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with fresh weights that says it was trained on shapes."""
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    classes = load_dataset("shapes", "test", size=1).classes
    model = levit_ref.create_model("levit_1m_32px", num_classes=10, seed=3)
    about = About(DATASETS["shapes"].preprocessing(32), classes, "shapes")
    save_checkpoint(Checkpoint(model, about), path)
    return path


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colourful picture of 60x80 pixels."""
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def error_line(result: Result) -> str:
    """The one line of a user's error: nothing else is on stderr, and the exit status is 2."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    start = "levit-ref: error: "
    assert lines[0].startswith(start)
    return lines[0].removeprefix(start)
