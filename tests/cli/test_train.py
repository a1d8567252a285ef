from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from levit_ref.cli.train_options import PANELS
from levit_ref.data import DATASETS
from levit_ref.settings import declarations
from levit_ref.training import NonFiniteError, TrainConfig, TrainResult
from levit_ref.training.run_folder import RunFolder

from .conftest import Run, error_line

QUICK = ["--train-size=64", "--test-size=32", "--epochs=1", "--warmup-epochs=0", "--batch-size=32", "--workers=0"]

# every option with a value that is not its default, as words of the command line and as the setting
OPTIONS: dict[str, tuple[list[str], Any]] = {
    "model": (["--model", "levit_3m_32px"], "levit_3m_32px"),
    "dataset": (["--dataset", "cifar100"], "cifar100"),
    "data_dir": (["--data-dir", "some/where"], "some/where"),
    "image_size": (["--image-size", "48"], 48),
    "train_size": (["--train-size", "500"], 500),
    "test_size": (["--test-size", "200"], 200),
    "two_heads": (["--two-heads"], True),
    "drop_path": (["--drop-path", "0.1"], 0.1),
    "epochs": (["--epochs", "7"], 7),
    "batch_size": (["--batch-size", "48"], 48),
    "lr": (["--lr", "3e-4"], 3e-4),
    "warmup_epochs": (["--warmup-epochs", "0.5"], 0.5),
    "warmup_lr": (["--warmup-lr", "1e-7"], 1e-7),
    "min_lr": (["--min-lr", "1e-6"], 1e-6),
    "weight_decay": (["--weight-decay", "0.1"], 0.1),
    "betas": (["--betas", "0.8", "0.95"], (0.8, 0.95)),
    "eps": (["--eps", "1e-6"], 1e-6),
    "clip_mode": (["--clip-mode", "norm"], "norm"),
    "clip_value": (["--clip-value", "2"], 2.0),
    "label_smoothing": (["--label-smoothing", "0.2"], 0.2),
    "ema_decay": (["--ema-decay", "0.99"], 0.99),
    "ema_warmup": (["--no-ema-warmup"], False),
    "crop_padding": (["--crop-padding", "3"], 3),
    "crop_fill": (["--crop-fill", "zero"], "zero"),
    "flip": (["--flip", "0.25"], 0.25),
    "cutout": (["--cutout", "6"], 6),
    "brightness": (["--brightness", "0.4"], 0.4),
    "contrast": (["--contrast", "0.5"], 0.5),
    "saturation": (["--saturation", "0.6"], 0.6),
    "mixup": (["--mixup", "0.8"], 0.8),
    "cutmix": (["--cutmix", "1"], 1.0),
    "mix_probability": (["--mix-probability", "0.7"], 0.7),
    "cutmix_probability": (["--cutmix-probability", "0.3"], 0.3),
    "teacher": (["--teacher", "big.safetensors"], "big.safetensors"),
    "teacher_logits": (["--teacher-logits", "logits.npy"], "logits.npy"),
    "distillation": (["--distillation", "soft"], "soft"),
    "distillation_alpha": (["--distillation-alpha", "0.9"], 0.9),
    "temperature": (["--temperature", "3"], 3.0),
    "backend": (["--backend", "numpy"], "numpy"),
    "seed": (["--seed", "11"], 11),
    "eval_every": (["--eval-every", "2"], 2),
    "checkpoint_every_seconds": (["--checkpoint-every-seconds", "5"], 5.0),
    "checkpoint_every_steps": (["--checkpoint-every-steps", "100"], 100),
    "threads": (["--threads", "3"], 3),
    "workers": (["--workers", "2"], 2),
    "prefetch": (["--prefetch", "4"], 4),
}
FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]


class Recorder:
    """Stands in for ``train``: remembers what it was called with."""

    def __init__(self, error: Exception | None = None, signal: int | None = None) -> None:
        self.error, self.signal = error, signal
        self.config = TrainConfig()
        self.folder = Path()
        self.resume = False

    def __call__(self, config: TrainConfig, run_dir: Path, *, resume: bool, **_: Any) -> TrainResult:
        self.config, self.folder, self.resume = config, run_dir, resume
        if self.error is not None:
            raise self.error
        return TrainResult(self.signal, 1, 1, 0.5, 1.0)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    """The command with its one function replaced, in an empty working folder."""
    recorder = Recorder()
    monkeypatch.setattr(importlib.import_module("levit_ref.cli.train"), "train", recorder)
    monkeypatch.chdir(tmp_path)
    return recorder


# --- settings -------------------------------------------------------------------------------------------------------


def test_every_setting_has_an_option_with_help() -> None:
    assert {declared.panel for declared in declarations(TrainConfig).values()} == set(PANELS)
    assert sorted(OPTIONS) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_an_option_sets_its_setting_and_no_other(run: Run, train: Recorder, name: str) -> None:
    words, value = OPTIONS[name]
    result = run("train", *words)
    assert result.exit_code == 0, result.output
    assert getattr(train.config, name) == value
    assert train.config == TrainConfig(**{name: value})
    assert train.config != TrainConfig()


def test_without_options_it_trains_on_shapes(run: Run, train: Recorder) -> None:
    assert run("train").exit_code == 0
    assert train.config == TrainConfig()
    assert train.config.dataset == "shapes"
    assert not train.resume


def test_the_command_line_wins_over_the_file_and_the_file_over_the_dataset(
    run: Run, train: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "my.toml").write_text('dataset = "cifar10"\nepochs = 3\nlr = 5e-4\nbetas = [0.5, 0.6]\n')
    assert run("train", "--config", "my.toml", "--lr", "0.125", "--no-two-heads").exit_code == 0
    config = train.config
    assert config.lr == 0.125  # command line, over the file
    assert config.epochs == 3  # file, over the dataset's own
    assert DATASETS["cifar10"].settings["epochs"] != 3
    assert config.ema_decay == DATASETS["cifar10"].settings["ema_decay"]  # dataset, over the general default
    assert declarations(TrainConfig)["ema_decay"].default != config.ema_decay
    assert config.betas == (0.5, 0.6)
    assert config.two_heads is False


def test_help_shows_types_defaults_and_panels(run: Run) -> None:
    text = run("train", "--help").stdout
    words = " ".join(text.replace("│", " ").split())
    for panel in PANELS:
        assert f"─ {panel} ─" in text
    for name in FIELDS:
        assert f"--{name.replace('_', '-')}" in words
    assert "[default: 0.9 0.999]" in words
    assert "shapes: 0.003; cifar10, cifar100, folder: 0.002]" in words
    assert "agc|norm|none" in words
    assert f"shapes: {DATASETS['shapes'].settings['epochs']}" in words


# --- the folder -------------------------------------------------------------------------------------------------------


def test_the_folder_by_default_is_a_new_one(run: Run, train: Recorder, tmp_path: Path) -> None:
    run("train")
    assert train.folder == Path("runs/shapes-levit_250k_32px")
    for number in "", "-2":
        (tmp_path / f"runs/shapes-levit_250k_32px{number}").mkdir(parents=True)
    run("train")
    assert train.folder == Path("runs/shapes-levit_250k_32px-3")


def test_the_folder_may_be_an_argument_or_an_option(run: Run, train: Recorder) -> None:
    run("train", "--out", "a")
    assert train.folder == Path("a")
    run("train", "b")
    assert train.folder == Path("b")
    assert "two folders" in error_line(run("train", "a", "--out", "b"))


@pytest.mark.parametrize("words", [["--resume", "old"], ["--resume", "--out", "old"], ["old", "--resume"]])
def test_resume_takes_the_settings_of_the_run(run: Run, train: Recorder, words: list[str]) -> None:
    recorded = TrainConfig(epochs=4, seed=9)
    RunFolder("old").create(recorded)
    assert run("train", *words).exit_code == 0
    assert (train.folder, train.resume, train.config) == (Path("old"), True, recorded)
    assert run("train", *words, "--workers", "0").exit_code == 0
    assert train.config == recorded.replace(workers=0)


# --- errors and exit status -------------------------------------------------------------------------------------------


def test_errors_name_what_is_wrong(run: Run, train: Recorder, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("epoch = 3\n")
    (tmp_path / "worse.toml").write_text("epochs = = 3\n")
    (tmp_path / "type.toml").write_text('epochs = "many"\n')
    assert "did you mean epochs" in error_line(run("train", "--config", "bad.toml"))
    assert error_line(run("train", "--config", "worse.toml")).startswith("worse.toml: ")
    assert "epochs must be an integer" in error_line(run("train", "--config", "type.toml"))
    assert error_line(run("train", "--config", "gone.toml")).startswith("gone.toml: ")
    assert "clip_mode must be one of" in error_line(run("train", "--clip-mode", "hard"))
    assert "drop_path must be" in error_line(run("train", "--drop-path", "1.5"))
    assert "--epochs" in error_line(run("train", "--epochs", "many"))
    assert "--epoch" in error_line(run("train", "--epoch", "3"))
    assert "dataset must be one of" in error_line(run("train", "--dataset", "cifar"))
    assert "--resume" in error_line(run("train", "--resume"))
    assert error_line(run("train", "--resume", "nowhere")).startswith("nowhere: ")


def test_a_loss_that_is_not_finite_has_status_1(run: Run, train: Recorder) -> None:
    train.error = NonFiniteError("step 3: the loss is nan")
    result = run("train")
    assert result.exit_code == 1
    assert result.stderr == "levit-ref: error: step 3: the loss is nan\n"


@pytest.mark.parametrize(("signal", "status"), [(None, 0), (2, 130), (15, 143)])
def test_a_signal_gives_its_status(run: Run, train: Recorder, signal: int | None, status: int) -> None:
    train.signal = signal
    assert run("train").exit_code == status


# --- the real thing -------------------------------------------------------------------------------------------------


def test_train_then_eval_predict_and_resume(run: Run, tmp_path: Path, picture: Path) -> None:
    folder = tmp_path / "first"
    result = run("train", "--out", folder, *QUICK)
    assert result.exit_code == 0, result.output
    assert "epoch 1/1" in result.stdout
    assert {path.name for path in folder.iterdir()} >= {
        "best.safetensors",
        "config.toml",
        "confusion.png",
        "curves.png",
        "last.safetensors",
        "metrics.jsonl",
        "run.json",
    }
    assert TrainConfig.load(folder / "config.toml").train_size == 64

    record = json.loads((folder / "metrics.jsonl").read_text())
    found = json.loads(run("eval", folder, "--test-size", "32", "--json").stdout)
    assert found["accuracy"] == record["test_accuracy"]
    assert run("predict", picture, "-m", folder).exit_code == 0

    assert "already holds a run" in error_line(run("train", "--out", folder, "--quiet", *QUICK))
    assert run("train", "--resume", folder).exit_code == 0  # all epochs are done: nothing to do
    assert "lr = 0.003 there, 0.1 now" in error_line(run("train", "--resume", folder, "--lr", "0.1"))


def test_quiet_says_nothing(run: Run, tmp_path: Path) -> None:
    result = run("train", "--quiet", "--out", tmp_path / "run", *QUICK)
    assert (result.exit_code, result.output) == (0, "")
