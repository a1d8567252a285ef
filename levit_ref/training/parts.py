"""From settings to the parts of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from levit_ref.configs import create_model
from levit_ref.data import DATASETS, Dataset, Loader, load_dataset
from levit_ref.nn import LeViT
from levit_ref.settings import ConfigError
from levit_ref.training.clipping import clip_adaptive, clip_global_norm
from levit_ref.training.config import TrainConfig
from levit_ref.training.distillation import ModelTeacher, StoredTeacher, Teacher
from levit_ref.training.ema import Ema
from levit_ref.training.flat import decay_mask
from levit_ref.training.objective import Objective
from levit_ref.training.optimizer import AdamW
from levit_ref.training.schedule import WarmupCosine
from levit_ref.training.step import TrainingStep


@dataclass(frozen=True)
class Datasets:
    """Pictures to train on and to test on, of the same classes and size."""

    train: Dataset
    test: Dataset


@dataclass(frozen=True)
class Parts:
    """Everything that a run works with."""

    step: TrainingStep
    loader: Loader
    test_set: Dataset


def load_datasets(config: TrainConfig) -> Datasets:
    """Both splits of the dataset that the settings name."""
    train, test = (
        load_dataset(config.dataset, split, config.data_dir, image_size=config.image_size, size=size)
        for split, size in (("train", config.train_size), ("test", config.test_size))
    )
    return Datasets(train, test)


def build(config: TrainConfig, datasets: Datasets) -> Parts:
    """Make the parts of a run, all in their state before the first step.

    Raises
    ------
    ConfigError
        If settings do not go together, e.g. a teacher and a model with one head.
    """
    train, test = datasets.train, datasets.test
    if (train.classes, train.image_shape) != (test.classes, test.image_shape):
        raise ConfigError("the training and the test pictures have different classes or sizes")
    _, height, width = train.image_shape
    model = create_model(
        config.model,
        num_classes=len(train.classes),
        image_size=(height, width),
        distillation=_two_heads(config),
        drop_path=config.drop_path,
        seed=config.seed,
    )
    loader = Loader(
        train,
        config.batch_size,
        DATASETS[config.dataset].preprocessing((height, width)),
        config.augmentation(),
        seed=config.seed,
        workers=config.workers,
        prefetch=config.prefetch,
    )
    step = TrainingStep(
        model=model,
        optimizer=_optimizer(config, model),
        ema=Ema(model, config.ema_decay, warmup=config.ema_warmup) if config.ema_decay else None,
        schedule=_schedule(config, len(loader)),
        objective=Objective(
            label_smoothing=config.label_smoothing,
            distillation=config.distillation,
            alpha=config.distillation_alpha,
            temperature=config.temperature,
        ),
        teacher=_teacher(config, model, train),
        clip=_clip(config, model),
        seed=config.seed,
    )
    return Parts(step, loader, test)


def _two_heads(config: TrainConfig) -> bool | None:
    """Whether the model has a second head: as the settings say, else yes with a teacher, else None (as the variant)."""
    if config.two_heads is None and (config.teacher is not None or config.teacher_logits is not None):
        return True
    return config.two_heads


def _optimizer(config: TrainConfig, model: LeViT) -> AdamW:
    return AdamW(
        model.flat_data,
        model.flat_grad,
        decay_mask((name, parameter.shape) for name, parameter in model.named_parameters()),
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )


def _schedule(config: TrainConfig, steps_per_epoch: int) -> WarmupCosine:
    return WarmupCosine(
        lr=config.lr,
        total_steps=config.epochs * steps_per_epoch,
        warmup_steps=int(config.warmup_epochs * steps_per_epoch),
        min_lr=config.min_lr,
        warmup_lr=config.warmup_lr,
    )


def _clip(config: TrainConfig, model: LeViT) -> Callable[[], object]:
    if config.clip_mode == "norm":
        return lambda: clip_global_norm(model.flat_grad, config.clip_value)
    if config.clip_mode == "agc":
        parameters = [parameter for _, parameter in model.named_parameters()]
        return lambda: clip_adaptive(parameters, config.clip_value)
    return lambda: None


def _teacher(config: TrainConfig, model: LeViT, train: Dataset) -> Teacher | None:
    if config.teacher is None and config.teacher_logits is None:
        return None
    if not model.config.distillation:
        raise ConfigError(
            "a teacher needs a model with two heads, but two_heads is false: leave it out or set it to true"
        )
    if config.teacher is not None:
        return ModelTeacher.load(config.teacher, num_classes=model.num_classes, image_size=model.image_size)
    assert config.teacher_logits is not None
    return StoredTeacher.load(config.teacher_logits, num_images=len(train), num_classes=model.num_classes)
