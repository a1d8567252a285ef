"""The names of Hugging Face transformers.

It counts branches within a stage, and has the shrinking attention at the end of the stage that it leaves; timm has it
at the start of the stage that it leads into.
"""

from __future__ import annotations

from collections.abc import Iterable

from levit_ref.checkpoints.formats.timm import PASSAGE, place_of
from levit_ref.nn import LeViTConfig

LAYERS = {
    "qkv": "queries_keys_values",
    "kv": "keys_values",
    "q.ln": "queries",
    "proj.ln": "projection",
    "ln1": "linear_up",
    "ln2": "linear_down",
}
"""Of a branch: this package's name, and theirs."""

HEADS = {"head": "classifier", "head_dist": "classifier_distill"}


def recognises(names: Iterable[str]) -> bool:
    """Whether some of these names are those of transformers."""
    return any(name.startswith(("levit.patch_embeddings.", "levit.encoder.")) for name in names)


def name_of(name: str, config: LeViTConfig) -> str:
    """The name in transformers.

    Examples
    --------
    >>> from levit_ref import get_config
    >>> name_of("stages.1.downsample.attn_downsample.q.ln.linear.weight", get_config("levit_128s"))
    'levit.encoder.stages.0.layers.4.queries.linear.weight'
    """
    part, number, stage, layer, kind, leaf = place_of(name)
    kind = "batch_norm" if kind == "bn" else kind
    if part in HEADS:
        return f"{HEADS[part]}.{kind}.{leaf}"
    if part == "stem":
        kind = "convolution" if kind == "linear" else kind
        return f"levit.patch_embeddings.embedding_layer_{number}.{kind}.{leaf}"
    if number == PASSAGE:
        stage, number = stage - 1, config.depths[stage - 1]
        inner = "" if part == "attn" else ".module"
    else:
        inner = ".module"
    branch = f"levit.encoder.stages.{stage}.layers.{2 * number + (part == 'mlp')}{inner}"
    return f"{branch}.{kind}" if kind == "attention_biases" else f"{branch}.{LAYERS[layer]}.{kind}.{leaf}"
