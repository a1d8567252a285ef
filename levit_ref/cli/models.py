"""What a user may give where a model is expected: the name of a variant, a checkpoint, or a pretrained model."""

from __future__ import annotations

import os
from pathlib import Path

from levit_ref.checkpoints import ModelMetadata, load_model
from levit_ref.configs import create_model, list_models
from levit_ref.data import Dataset
from levit_ref.nn import LeViT
from levit_ref.pretrained import list_pretrained, load_pretrained, pretrained_info

RUN_CHECKPOINTS = ("best.safetensors", "last.safetensors")
"""Which file of a run folder is meant by the folder: the first that is there."""


CHECKPOINT_HELP = "A checkpoint, a run folder (its best one), or the name of a model that comes with the package."
"""What :func:`load_checkpoint` takes, for the help of options."""


def load_checkpoint(model: str) -> tuple[LeViT, ModelMetadata]:
    """Read the model of a checkpoint file, of a run folder, or one that comes with the package.

    Parameters
    ----------
    model : str
        A name of :func:`levit_ref.list_pretrained`, else a path.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no checkpoint in the folder.
    ValueError
        If it looks like a name, and there is none like it; as ``CheckpointError``, if the file is no checkpoint, or a
        damaged one.
    """
    if model in list_pretrained():
        return load_pretrained(model), pretrained_info(model)
    if not _looks_like_a_path(model):
        try:
            load_pretrained(model)  # raises, and names the nearest models
        except ValueError as error:
            raise ValueError(f"{model}: no such file, and {error}") from None
    path = Path(model)
    if path.is_dir():
        found = [path / name for name in RUN_CHECKPOINTS if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path}: a folder without a checkpoint ({' or '.join(RUN_CHECKPOINTS)})")
        path = found[0]
    return load_model(path)


def introduction(model: str, about: ModelMetadata) -> str:
    """One line on a model that comes with the package; nothing on others, which whoever named them knows."""
    if model not in list_pretrained():
        return ""
    accuracy = "" if about.accuracy is None else f", test accuracy {about.accuracy:.1%}"
    few = 0 < len(about.class_names) <= 20
    classes = ", ".join(about.class_names) if few else f"{about.num_classes} classes"
    return f"{model}, trained on {about.dataset}{accuracy}; it knows {classes}"


def variant_or_checkpoint(
    model: str, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None
) -> LeViT:
    """Build a variant with fresh weights, or read a trained model.

    Parameters
    ----------
    model : str
        A name of :func:`levit_ref.list_models`, else what :func:`load_checkpoint` takes.
    num_classes : int, optional
    image_size : (int, int), optional
        Of a variant only: a checkpoint has its own. By default 1000 and what the variant is meant for.

    Raises
    ------
    ValueError, FileNotFoundError
        If ``model`` is neither, or an option does not go with it.
    """
    if model in list_models():
        return create_model(model, num_classes=1000 if num_classes is None else num_classes, image_size=image_size)
    if not (model in list_pretrained() or _looks_like_a_path(model)):
        create_model(model)  # raises, and names the nearest variants
    if num_classes is not None or image_size is not None:
        raise ValueError(
            f"{model}: --num-classes and --image-size go with the name of a variant; a trained model has its own"
        )
    return load_checkpoint(model)[0]


def check_classes(checkpoint: str, about: ModelMetadata, data: Dataset, name: str) -> None:
    """Raise unless the model's logits mean the dataset's classes: right numbers of other classes would be nonsense."""
    if len(data.classes) != about.num_classes:
        raise ValueError(f"{checkpoint}: has {about.num_classes} classes, {name} has {len(data.classes)}")
    for i, (ours, theirs) in enumerate(zip(about.class_names, data.classes, strict=False)):
        if ours != theirs:
            raise ValueError(f"{checkpoint}: its class {i} is {ours}, that of {name} is {theirs}")


def _looks_like_a_path(text: str) -> bool:
    return os.path.exists(text) or os.path.basename(text) != text or text.endswith(".safetensors")
