"""The models that come with the package, by name.

What reads files is imported where it is used: ``import levit_ref`` need not wait for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from levit_ref.nn import LeViT

if TYPE_CHECKING:
    from levit_ref.checkpoints import ModelMetadata

DEFAULT = "levit_1m_32px-cifar10"
"""The model that the command line takes where none is named."""

_SUFFIX = ".safetensors"


def list_pretrained() -> list[str]:
    """Names of the trained models that come with the package: the variant, a dash, and the dataset."""
    files = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))


def load_pretrained(name: str) -> LeViT:
    """Read a trained model that comes with the package; no network is needed.

    Parameters
    ----------
    name : str
        One of :func:`list_pretrained`.

    Returns
    -------
    model : LeViT
        float32, and in evaluation mode, unlike a new model: what is trained is there to be used. To train it further,
        call ``model.train()``. Every call reads a model of its own.

    Raises
    ------
    ValueError
        If there is no such model (the message names the nearest), or, as ``CheckpointError``, if its file is damaged.

    See Also
    --------
    pretrained_info : its classes, what it was trained on, how good it is.
    prepare_images : pictures as it wants them.

    Examples
    --------
    >>> import levit_ref
    >>> from matplotlib import cbook
    >>> model = levit_ref.load_pretrained("levit_1m_32px-cifar10")
    >>> about = levit_ref.pretrained_info("levit_1m_32px-cifar10")
    >>> photo = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)  # any picture file
    >>> images = levit_ref.prepare_images(photo, about)
    >>> images.shape
    (1, 3, 32, 32)
    >>> logits = model(images)  # (1, 10)
    >>> best = logits[0].argmax()
    >>> about.class_names[best] in about.class_names  # a person is none of them: the network has to take her for one
    True
    """
    from levit_ref.checkpoints import load_model

    with _file(name) as path:
        model, _ = load_model(path)
    model.eval()
    return model


def pretrained_info(name: str) -> ModelMetadata:
    """What is known about a model of :func:`load_pretrained`.

    Parameters
    ----------
    name : str
        One of :func:`list_pretrained`.

    Returns
    -------
    about : ModelMetadata
        ``class_names`` in the order of the logits; ``image_size``, ``mean`` and ``std``, which
        :func:`prepare_images` uses; ``dataset``; ``accuracy`` on its test pictures, measured on what is in the file;
        ``training``: the commands and more.

    Raises
    ------
    ValueError
        As :func:`load_pretrained`.

    Examples
    --------
    >>> import levit_ref
    >>> about = levit_ref.pretrained_info("levit_1m_32px-cifar10")
    >>> about.dataset, about.image_size, about.num_classes
    ('cifar10', (32, 32), 10)
    """
    from levit_ref.checkpoints import load_metadata

    with _file(name) as path:
        return load_metadata(path)


@contextmanager
def _file(name: str) -> Iterator[Path]:
    known = list_pretrained()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        raise ValueError(
            f"there is no pretrained model {name!r}; "
            + (f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known) or 'none'}")
        )
    with resources.as_file(resources.files(__package__) / f"{name}{_SUFFIX}") as path:
        yield path
