"""The attention layers of a model, and the grids of its maps."""

from __future__ import annotations

from dataclasses import dataclass

from levit_ref.inspection.names import nearest
from levit_ref.nn import LeViT, TokenGrid
from levit_ref.nn.attention import AttentionDownsample, BiasedAttention


@dataclass(frozen=True)
class AttentionLayer:
    """An attention of a model.

    Attributes
    ----------
    name : str
        As in the names of parameters and activations, e.g. ``stages.0.blocks.1.attn``.
    module : BiasedAttention
    keys, queries : TokenGrid
    """

    name: str
    module: BiasedAttention
    keys: TokenGrid
    queries: TokenGrid

    @property
    def shrinks(self) -> bool:
        """Whether it leads to a smaller map; such a layer has no residual path around it."""
        return isinstance(self.module, AttentionDownsample)

    @property
    def label(self) -> str:
        """A short name for an axis: ``0.blocks.1``, or ``0→1`` where attention shrinks."""
        stage = int(self.name.split(".")[1])
        return f"{stage - 1}→{stage}" if self.shrinks else self.name.removeprefix("stages.").removesuffix(".attn")


def stem_grid(model: LeViT, convs: int | None = None) -> TokenGrid:
    """The map after the first ``convs`` convolutions of the stem, or after the whole stem."""
    return model.stem.grids[-1 if convs is None else convs]


def stage_grid(model: LeViT, stage: int) -> TokenGrid:
    """The map of tokens inside a stage, after its shrinking attention if it has one."""
    if not 0 <= stage < len(model.stages):
        raise ValueError(f"{model.config.name} has stages 0 to {len(model.stages) - 1}, got {stage}")
    return model.stages[stage].grid


def attention_layers(model: LeViT) -> dict[str, AttentionLayer]:
    """All attentions of a model by name, in the order of execution."""
    return {
        name: AttentionLayer(name, module, module.keys, module.queries)
        for name, module in model.named_modules()
        if isinstance(module, BiasedAttention)
    }


def attention_layer(model: LeViT, name: str) -> AttentionLayer:
    """One attention of a model.

    Raises
    ------
    ValueError
        If it has none of this name; the message has the nearest.
    """
    layers = attention_layers(model)
    if name not in layers:
        raise ValueError(f"{model.config.name} has no attention {name!r}; {nearest(name, layers)}")
    return layers[name]
