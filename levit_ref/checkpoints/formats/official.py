"""The names of the official code, facebookresearch/LeViT.

It counts all branches in one list: attention and MLP of each block, and between two stages the shrinking attention,
which has no residual and so no ``.m``, and its MLP. Beside each table of position biases it stores the index table.
"""

from __future__ import annotations

from collections.abc import Iterable

from levit_ref.checkpoints.formats.timm import PASSAGE, place_of
from levit_ref.nn import LeViTConfig

LAYERS = {"qkv": "qkv", "kv": "kv", "q.ln": "q.1", "proj.ln": "proj.1", "ln1": "0", "ln2": "2"}
"""Of a branch: this package's name, and theirs."""


def recognises(names: Iterable[str]) -> bool:
    """Whether some of these names are the official code's."""
    return any(name.startswith(("patch_embed.", "blocks.")) for name in names)


def name_of(name: str, config: LeViTConfig) -> str:
    """The official code's name.

    Examples
    --------
    >>> from levit_ref import get_config
    >>> name_of("stages.1.downsample.attn_downsample.q.ln.linear.weight", get_config("levit_128s"))
    'blocks.4.q.1.c.weight'
    """
    part, number, stage, layer, kind, leaf = place_of(name)
    if part in ("head", "head_dist"):
        return f"{part}.{'l' if kind == 'linear' else kind}.{leaf}"
    if part == "stem":
        return f"patch_embed.{2 * (number - 1)}.{'c' if kind == 'linear' else kind}.{leaf}"
    branch = 2 * (sum(config.depths[:stage]) + stage + number)  # each passage counts as a block
    if part == "mlp":
        branch += 1
    inner = "" if part == "attn" and number == PASSAGE else ".m"
    if kind == "attention_biases":
        return f"blocks.{branch}{inner}.{kind}"
    return f"blocks.{branch}{inner}.{LAYERS[layer]}.{'c' if kind == 'linear' else kind}.{leaf}"
