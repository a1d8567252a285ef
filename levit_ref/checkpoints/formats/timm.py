"""The names of timm, which are also this package's, and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from levit_ref.nn import LeViTConfig


def recognises(names: Iterable[str]) -> bool:
    """Whether some of these names are timm's."""
    return any(name.startswith(("stem.", "stages.")) for name in names)


def name_of(name: str, config: LeViTConfig) -> str:
    """The name itself."""
    return name


class Place(NamedTuple):
    """Where in the network an array is.

    Attributes
    ----------
    part : str
        "stem", "attn", "mlp", "head" or "head_dist".
    number : int
        Of the convolution, from 1; of the block, from 0; -1 for the passage into a stage; 0 in a head.
    stage : int
    layer : str
        Within the part, e.g. "qkv" or "proj.ln"; empty where the part is one layer.
    kind : str
        "linear", "bn" or, for a table of position biases, "attention_biases".
    leaf : str
        "weight", "running_mean", ...; empty for a table of position biases.
    """

    part: str
    number: int
    stage: int
    layer: str
    kind: str
    leaf: str


PASSAGE = -1
"""``Place.number`` of the shrinking attention and its MLP."""

_PLACES = {
    re.compile(r"stem\.conv(?P<number>\d+)\.(?P<rest>.+)"): "stem",
    re.compile(r"stages\.(?P<stage>\d+)\.blocks\.(?P<number>\d+)\.attn\.(?P<rest>.+)"): "attn",
    re.compile(r"stages\.(?P<stage>\d+)\.blocks\.(?P<number>\d+)\.mlp\.(?P<rest>.+)"): "mlp",
    re.compile(r"stages\.(?P<stage>\d+)\.downsample\.attn_downsample\.(?P<rest>.+)"): "attn",
    re.compile(r"stages\.(?P<stage>\d+)\.downsample\.mlp\.(?P<rest>.+)"): "mlp",
    re.compile(r"head\.(?P<rest>.+)"): "head",
    re.compile(r"head_dist\.(?P<rest>.+)"): "head_dist",
}


def place_of(name: str) -> Place:
    """Where the array of this name is.

    Raises
    ------
    ValueError
        If it is no name of a LeViT with batch normalisation and position biases.

    Examples
    --------
    >>> place_of("stages.1.downsample.attn_downsample.q.ln.bn.bias")
    Place(part='attn', number=-1, stage=1, layer='q.ln', kind='bn', leaf='bias')
    """
    for pattern, part in _PLACES.items():
        if found := pattern.fullmatch(name):
            groups = found.groupdict()
            number = groups.get("number", PASSAGE if "stage" in groups else 0)
            rest = groups["rest"] + "." * (groups["rest"] == "attention_biases")  # a table has no leaf
            *layer, kind, leaf = rest.split(".")
            return Place(part, int(number), int(groups.get("stage", 0)), ".".join(layer), kind, leaf)
    raise ValueError(f"{name} has no counterpart in other implementations")
