"""The names of all values in the order of execution, written down by hand: a promise to whoever stored one."""

from __future__ import annotations


def expected_names(*, stem_convs: int, depths: tuple[int, ...], two_heads: bool) -> list[str]:
    """Of a network of the paper's kind: batch normalisation, attention biases."""
    names = ["images"]
    for i in range(1, stem_convs + 1):
        names += [f"stem.conv{i}.linear", f"stem.conv{i}.bn"]
        names += [f"stem.act{i}"] if i < stem_convs else []
    names += ["stem.tokens"]
    for stage, depth in enumerate(depths):
        names += downsample_names(f"stages.{stage}.downsample") if stage else []
        for block in range(depth):
            names += block_names(f"stages.{stage}.blocks.{block}")
    names += ["pooled", "head.bn", "head.linear", "head"]
    names += ["head_dist.bn", "head_dist.linear", "head_dist"] if two_heads else []
    return [*names, "logits"]


def block_names(block: str) -> list[str]:
    return [
        f"{block}.resid_pre",
        *attention_names(f"{block}.attn", "qkv.linear", "qkv.bn"),
        f"{block}.attn",
        f"{block}.resid_mid",
        *mlp_names(f"{block}.mlp"),
        f"{block}.resid_post",
    ]


def downsample_names(downsample: str) -> list[str]:
    return [
        f"{downsample}.resid_pre",
        *attention_names(f"{downsample}.attn_downsample", "kv.linear", "kv.bn", "q.down", "q.ln.linear", "q.ln.bn"),
        f"{downsample}.resid_mid",
        *mlp_names(f"{downsample}.mlp"),
        f"{downsample}.resid_post",
    ]


def attention_names(attention: str, *projections: str) -> list[str]:
    core = ["q", "k", "v", "bias", "scores", "scores_biased", "probs", "context"]
    return [f"{attention}.{name}" for name in (*projections, *core, "proj.act", "proj.ln.linear", "proj.ln.bn")]


def mlp_names(mlp: str) -> list[str]:
    return [*(f"{mlp}.{name}" for name in ("ln1.linear", "ln1.bn", "act", "ln2.linear", "ln2.bn")), mlp]
