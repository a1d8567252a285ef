"""The models that come with the package: their names and their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from levit_ref._suggest import did_you_mean

DEFAULT = "levit_1m_32px-cifar10"
"""The model that the command line takes where none is named."""

_SUFFIX = ".safetensors"


def list_pretrained() -> list[str]:
    """Names of the trained models that come with the package: the variant, a dash, and the dataset."""
    files = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))


@contextmanager
def pretrained_file(name: str) -> Iterator[Path]:
    """The file of one of these models; it is there for as long as the block runs.

    Raises
    ------
    ValueError
        If there is no such model; the message names the nearest.
    """
    known = list_pretrained()
    if name not in known:
        hint = did_you_mean(name, known, cutoff=0.4) or f"; there is {', '.join(known) or 'none'}"
        raise ValueError(f"there is no pretrained model {name!r}{hint}")
    with resources.as_file(resources.files(__package__) / f"{name}{_SUFFIX}") as path:
        yield path
