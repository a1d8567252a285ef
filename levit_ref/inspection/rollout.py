"""Attention rollout over the pyramid: the shares of the first tokens in every later one, all layers together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.layers import ATTENTION, attention_layers
from levit_ref.nn import TokenGrid
from levit_ref.ops import Array


@dataclass(frozen=True)
class Rollout:
    """The shares of the first tokens in the tokens after each layer, see :func:`attention_rollout`.

    Attributes
    ----------
    mixtures : dict of str to ndarray, shape (B, N, N_0)
        By name of the layer: shares of the N_0 tokens of the stem in the N tokens after that layer. Rows sum to 1.
    grids : dict of str to TokenGrid
        The map after each layer.
    stem : TokenGrid
    """

    mixtures: dict[str, Array]
    grids: dict[str, TokenGrid]
    stem: TokenGrid

    @property
    def pooled(self) -> Array:
        """Shares in the mean over the last tokens, which the heads classify: (B, H, W), each sums to 1."""
        last = list(self.mixtures.values())[-1]
        return last.mean(axis=1).reshape(len(last), self.stem.rows, self.stem.columns)

    def token(self, layer: str, token: tuple[int, int]) -> Array:
        """Shares in one token after a layer, given by row and column: (B, H, W), each sums to 1."""
        mixture = self.mixtures[layer][:, self.grids[layer].index(token)]  # (B, N_0)
        return mixture.reshape(len(mixture), self.stem.rows, self.stem.columns)


def attention_rollout(acts: Activations, *, skip: float = 0.5) -> Rollout:
    """Multiply the attentions of all layers, residual paths included.

    With ``P`` the probabilities of a layer, mean over its heads, and ``R`` the mixture before it:

    - in a block, ``R <- (skip I + (1 - skip) P) R``, since its output is the sum of its input and of the attention;
    - in a shrinking attention, ``R <- P R``: there is no residual path around it, and ``P`` is (N_q, N_k), so that R
      goes from 196 rows to 49 to 16 in the models for 224 pixels. The columns stay the stem's tokens.

    Parameters
    ----------
    acts : Activations
        With :data:`ATTENTION`.
    skip : float
        The share that the residual path is given; 0.5 in the source.

    Returns
    -------
    rollout : Rollout

    Raises
    ------
    ValueError
        If ``skip`` is not between 0 and 1, or a layer was not recorded.

    Notes
    -----
    Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 3.1: ``A = 0.5 W_att + 0.5 I``,
    heads averaged. Theirs has no shrinking attention; leaving the identity out there is this package's extension.
    It is a convention and not a measurement. Half for the skip path is a choice; the values that are mixed, and their
    lengths, do not count; and a token of the stem stands for all the pixels that it sees.
    """
    if not 0 <= skip <= 1:
        raise ValueError(f"attention_rollout: skip must be between 0 and 1, got {skip}")
    layers, probs = attention_layers(acts), acts.needed(ATTENTION, by="attention_rollout")
    mixtures: dict[str, Array] = {}
    mixture: Array | None = None
    for name, layer in layers.items():
        step = probs[f"{name}.probs"].mean(axis=1)  # (B, N_q, N_k)
        if not layer.shrinks:
            step = (1 - skip) * step + skip * np.eye(layer.keys.tokens, dtype=step.dtype)
        mixture = step if mixture is None else step @ mixture  # (B, N_q, N_0)
        mixtures[name] = mixture
    return Rollout(mixtures, {name: layer.queries for name, layer in layers.items()}, next(iter(layers.values())).keys)
