"""From what a user calls a trained model to the file that it is in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from levit_ref._suggest import did_you_mean
from levit_ref.configs import VARIANTS
from levit_ref.pretrained import list_pretrained, pretrained_file

RUN_CHECKPOINTS = ("best.safetensors", "last.safetensors")
"""Which file of a run folder is meant by the folder: the first that is there."""


@contextmanager
def located(source: str | os.PathLike[str]) -> Iterator[Path]:
    """The file of a trained model; it is there for as long as the block runs.

    Parameters and errors are those of :func:`levit_ref.load_checkpoint`.
    """
    if isinstance(source, str) and source in list_pretrained():
        with pretrained_file(source) as path:
            yield path
        return
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"a checkpoint is a path or a name, got {type(source).__name__}")
    if isinstance(source, str) and not looks_like_a_path(source):
        raise ValueError(_unknown(source))
    path = Path(source)
    yield _of_run(path) if path.is_dir() else path


def looks_like_a_path(text: str) -> bool:
    """Whether a text is meant as a path, not as a name: it exists, has a folder in it, or ends as checkpoints do."""
    return os.path.exists(text) or os.path.basename(text) != text or text.endswith(".safetensors")


def _of_run(folder: Path) -> Path:
    for name in RUN_CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder}: a folder without a checkpoint ({' or '.join(RUN_CHECKPOINTS)})")


def _unknown(name: str) -> str:
    """Why a name is none of a trained model."""
    known = list_pretrained()
    if name in VARIANTS:
        return (
            f"{name} is a variant without trained weights; give a checkpoint, a run folder, or a model that comes with "
            f"the package: {', '.join(known) or 'there is none'}"
        )
    hint = did_you_mean(name, known, cutoff=0.4) or f"; those in the package are {', '.join(known) or 'none'}"
    return f"{name}: no such file, and no such pretrained model{hint}"
