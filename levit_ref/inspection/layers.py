"""The attention layers of a network, and the maps of their keys and queries."""

from __future__ import annotations

from dataclasses import dataclass

from levit_ref._suggest import the_nearest
from levit_ref.inspection.activations import Activations
from levit_ref.nn import LeViT, TokenGrid
from levit_ref.nn.attention import BiasedAttention

ATTENTION = ("stages.*.probs",)
"""The attention probabilities of all layers, from which the attention tools compute."""


@dataclass(frozen=True)
class AttentionLayer:
    """An attention of a network.

    Attributes
    ----------
    name : str
        As in the names of parameters and activations, e.g. ``stages.0.blocks.1.attn``.
    keys, queries : TokenGrid
    """

    name: str
    keys: TokenGrid
    queries: TokenGrid

    @property
    def shrinks(self) -> bool:
        """Whether it leads to a smaller map; such a layer has no residual path around it."""
        return self.keys != self.queries

    @property
    def label(self) -> str:
        """A short name for an axis: ``0.blocks.1``, or ``0→1`` where attention shrinks."""
        stage = int(self.name.split(".")[1])
        return f"{stage - 1}→{stage}" if self.shrinks else self.name.removeprefix("stages.").removesuffix(".attn")


def attention_layers(of: LeViT | Activations) -> dict[str, AttentionLayer]:
    """All attentions by name, in the order of execution.

    Parameters
    ----------
    of : LeViT or Activations
        A model, or a record of one: all of the network's attentions, whether or not they were recorded.
    """
    if isinstance(of, LeViT):
        return {name: AttentionLayer(name, at.keys, at.queries) for name, at in attention_modules(of).items()}
    layers = {}
    for name, spec in of.catalogue.items():
        if name.endswith(".probs") and spec.axes == ("B", "heads", "N_q", "N_k"):
            queries, keys = spec.grids
            layer = name.removesuffix(".probs")
            layers[layer] = AttentionLayer(layer, keys, queries)
    return layers


def attention_layer(of: LeViT | Activations, name: str) -> AttentionLayer:
    """One attention of a network.

    Raises
    ------
    ValueError
        If there is none of this name; the message has the nearest.
    """
    layers = attention_layers(of)
    if name not in layers:
        raise ValueError(f"there is no attention {name!r}; {the_nearest(name, layers)}")
    return layers[name]


def attention_modules(model: LeViT) -> dict[str, BiasedAttention]:
    """The components themselves, by name, in the order of execution."""
    return {name: module for name, module in model.named_modules() if isinstance(module, BiasedAttention)}
