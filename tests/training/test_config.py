"""Settings: types, ranges, precedence, and the way through a TOML file."""

from __future__ import annotations

import dataclasses

import pytest

from levit_ref.data import DATASETS, Augmentation
from levit_ref.settings import declarations
from levit_ref.training import ConfigError, TrainConfig, read_toml
from levit_ref.training.config import settings_table


def test_there_and_back_through_toml(tmp_path):
    config = TrainConfig(
        data_dir='C:\\pictures "of" cats\n\tand dögs \x7f',
        two_heads=True,
        drop_path=0.05,
        betas=(0.8, 0.95),
        min_lr=1e-7,
        eps=1e-8,
        ema_warmup=False,
        cutout=8,
    )
    config.save(tmp_path / "c.toml")
    assert TrainConfig.load(tmp_path / "c.toml") == config
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_what_is_none_is_left_out_of_toml():
    assert "teacher =" not in TrainConfig().to_toml()


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_has_defaults(dataset):
    config = TrainConfig(dataset=dataset)
    own = DATASETS[dataset].settings
    assert own and {name: getattr(config, name) for name in own} == dict(own)
    assert config.flip > 0  # every dataset is trained with some random changes


def test_precedence():
    config = TrainConfig(epochs=7, dataset="cifar10", lr=0.1)
    assert (config.epochs, config.lr, config.dataset) == (7, 0.1, "cifar10")
    assert config.model == DATASETS["cifar10"].settings["model"]  # the dataset's, over the general default
    assert "betas" not in DATASETS["cifar10"].settings and config.betas == declarations(TrainConfig)["betas"].default


def test_a_single_epoch_needs_no_further_option():
    assert TrainConfig(epochs=1).warmup_epochs == 0.5
    assert TrainConfig(epochs=2).warmup_epochs == 1
    assert TrainConfig(epochs=1, warmup_epochs=0.25).warmup_epochs == 0.25
    with pytest.raises(ConfigError, match="warmup_epochs must be below epochs = 1, got 1"):
        TrainConfig(epochs=1, warmup_epochs=1)


def test_settings_reach_the_augmentation():
    augmentation = TrainConfig(dataset="cifar10", crop_padding=1, mixup=0.3, crop_fill="zero").augmentation()
    assert type(augmentation) is Augmentation
    assert (augmentation.crop_padding, augmentation.mixup, augmentation.crop_fill) == (1, 0.3, "zero")
    assert augmentation.flip == DATASETS["cifar10"].settings["flip"]


def test_every_random_change_can_be_set():
    assert {field.name for field in dataclasses.fields(Augmentation)} <= declarations(TrainConfig).keys()


def test_the_constructor_a_file_and_plain_data_mean_the_same_run(tmp_path):
    (tmp_path / "c.toml").write_text('dataset = "cifar10"\nepochs = 3\n')
    made = TrainConfig(dataset="cifar10", epochs=3)
    assert made == TrainConfig.load(tmp_path / "c.toml") == TrainConfig.from_dict({"dataset": "cifar10", "epochs": 3})
    changed = TrainConfig(dataset="shapes", epochs=3).replace(dataset="cifar10")
    assert changed.lr == TrainConfig(dataset="shapes").lr != made.lr  # replace changes what it names, nothing else


def test_every_setting_says_what_it_means():
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    declared = declarations(TrainConfig)
    assert fields == declared.keys()
    table = settings_table()
    for name, declaration in declared.items():
        assert declaration.help.endswith("."), name
        assert declaration.panel, name
        assert f"| `{name}` |" in table
        assert getattr(TrainConfig(), name) is not None or declaration.not_given, name


def test_an_integer_may_stand_for_a_float_and_a_list_for_a_tuple():
    config = TrainConfig(lr=1, betas=[0.5, 0])
    assert isinstance(config.lr, float) and config.betas == (0.5, 0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be an integer, got 2.5"),
        ({"epochs": True}, "epochs must be an integer, got True"),
        ({"lr": "fast"}, "lr must be a finite number, got 'fast'"),
        ({"lr": float("nan")}, "lr must be a finite number, got nan"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"min_lr": 1.0}, "min_lr must be at most lr"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"flip": 2.0}, "flip must be between 0 and 1, got 2.0"),
        ({"ema_warmup": 1}, "ema_warmup must be true or false, got 1"),
        ({"model": 3}, "model must be a string, got 3"),
        ({"betas": (0.9, 1.0)}, r"betas must be in \[0, 1\)"),
        ({"betas": 0.9}, "betas must be two numbers, got 0.9"),
        ({"clip_mode": "hard"}, "clip_mode must be one of agc, norm, none; got 'hard'"),
        ({"ema_decay": 1.0}, "ema_decay must be below 1"),
        ({"warmup_epochs": 10.0, "epochs": 10}, "warmup_epochs must be below epochs = 10"),
        ({"teacher": "a", "teacher_logits": "b"}, "exclude each other"),
        ({"drop_path": 1.0}, "drop_path must be between 0 and 0.99"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


def test_unknown_names_raise_with_the_nearest(tmp_path):
    (tmp_path / "c.toml").write_text("epoch = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key in .*c.toml: epoch; did you mean epochs"):
        TrainConfig.load(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match=r"unknown setting: xyzzy; known are crop_padding, .*, model, dataset"):
        TrainConfig().replace(xyzzy=1)
    with pytest.raises(ConfigError, match=r"dataset must be one of .*; got 'cifar1'; did you mean cifar10 or cifar100"):
        TrainConfig(dataset="cifar1")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.toml: no such configuration file"):
        read_toml(tmp_path / "absent.toml")
    for content in (b"epochs = = 3", b"\xff\xfe"):
        (tmp_path / "c.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"c\.toml: not a TOML file"):
            read_toml(tmp_path / "c.toml")


def test_a_table_is_no_value(tmp_path):
    (tmp_path / "c.toml").write_text("[model]\nname = 'x'\n")
    with pytest.raises(ConfigError, match="model must be a string"):
        TrainConfig.load(tmp_path / "c.toml")
