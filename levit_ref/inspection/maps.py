"""Attention maps: where on the picture a token looks."""

from __future__ import annotations

from dataclasses import dataclass

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.layers import attention_layer
from levit_ref.nn import TokenGrid
from levit_ref.ops import Array


@dataclass(frozen=True)
class AttentionMaps:
    """Where one token looks, see :func:`attention_maps`.

    Attributes
    ----------
    layer : str
    query : (int, int)
        Row and column of the token that asks, on the map ``queries``.
    maps : ndarray, shape (B, heads, H, W)
        Attention probabilities on the map ``keys``; each map sums to 1.
    keys, queries : TokenGrid
    """

    layer: str
    query: tuple[int, int]
    maps: Array
    keys: TokenGrid
    queries: TokenGrid


def attention_maps(acts: Activations, layer: str, query: tuple[int, int] | None = None) -> AttentionMaps:
    """The attention probabilities of one token, for all heads of a layer.

    Parameters
    ----------
    acts : Activations
        With ``{layer}.probs``; :data:`ATTENTION` has those of all layers.
    layer : str
        An attention, e.g. ``stages.0.blocks.1.attn`` or ``stages.1.downsample.attn_downsample``; all are in
        :func:`attention_layers`.
    query : (int, int), optional
        Row and column of the token that asks, on the layer's map of queries; by default one in the middle.

    Returns
    -------
    maps : AttentionMaps

    Raises
    ------
    ValueError
        If there is no such layer or token, or the layer was not recorded.
    """
    at = attention_layer(acts, layer)
    query = at.queries.middle if query is None else query
    (all_queries,) = acts.needed(f"{layer}.probs", by="attention_maps").values()  # (B, heads, N_q, N_k)
    probs = all_queries[:, :, at.queries.index(query)]  # (B, heads, N_k)
    return AttentionMaps(layer, query, probs.reshape(*probs.shape[:2], *at.keys.shape), at.keys, at.queries)
