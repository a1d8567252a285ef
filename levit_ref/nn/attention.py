"""Attention with a learned position bias, and the attention that shrinks the map between two stages.

Axes: ``B`` batch, ``N`` tokens, ``C`` channels, ``h`` heads, ``D`` key channels and ``E`` value channels of one head.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref import functional as F
from levit_ref.nn.config import LeViTConfig
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.layers import Activation, LayerNorm
from levit_ref.nn.module import Module, Parameter
from levit_ref.nn.pairs import LinearNorm
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array, position_bias_index


class Projection(Module):
    """Activation, then linear layer and normalisation, on the heads' outputs.

    LeViT's hardswish here makes up for the missing normalisation of the value path; ablation A7 takes it away.

    Parameters
    ----------
    config : LeViTConfig
    C_in, C_out : int
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    scale : float
        Initial scale of the normalisation.
    """

    taps: ClassVar[Taps] = {"act": ("B N C", "the heads' outputs side by side, after the activation")}

    def __init__(
        self, config: LeViTConfig, C_in: int, C_out: int, rng: np.random.Generator | None, *, scale: float
    ) -> None:
        self.act = Activation(config.attention_activation)
        self.ln = LinearNorm(C_in, C_out, config.norm, rng, scale=scale)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C_in) to (B, N, C_out)."""
        x = tap("act", self.act.forward(x, tap))
        return self.ln.forward(x, tap.scope("ln"))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.ln.backward(dy, tap.scope("ln"))
        return self.act.backward(tap("act", dx))


class BiasedAttention(Module):
    """What the two attentions share: the bias table, the core from q, k, v to tokens, and back.

    Parameters
    ----------
    config : LeViTConfig
    num_heads : int
    grid : TokenGrid
        Of the keys.
    stride : int
        Of the queries on it.
    """

    taps: ClassVar[Taps] = {
        "norm": ("B N C", "the input after layer normalisation (ablation A3 only)"),
        "q": ("B heads N_q D", "queries of each head"),
        "k": ("B heads N_k D", "keys of each head"),
        "v": ("B heads N_k E", "values of each head"),
        "bias": ("heads N_q N_k", "position bias of every query and key, gathered from the table; no batch axis"),
        "scores": ("B heads N_q N_k", "scaled products of queries and keys, before the bias"),
        "scores_biased": ("B heads N_q N_k", "scores with the position bias: what the softmax sees"),
        "probs": ("B heads N_q N_k", "attention probabilities: every row sums to 1"),
        "context": ("B heads N_q E", "output of each head: the values weighted by the probabilities"),
    }

    def __init__(self, config: LeViTConfig, num_heads: int, grid: TokenGrid, stride: int) -> None:
        self.num_heads, self.key_dim, self.scale = num_heads, config.key_dim, config.key_dim**-0.5
        self.keys, self.queries = grid, grid.every(stride)
        has_bias = config.position == "attention_bias"  # ablation A5 leaves the table out
        self.attention_biases = Parameter(np.zeros((num_heads, grid.tokens))) if has_bias else None  # (h, offsets)
        self.attention_bias_index = position_bias_index(grid.shape, stride)  # (N_q, N_k)

    def attend(self, q: Array, k: Array, v: Array, tap: Tap) -> Array:
        """q (B, h, N_q, D), k (B, h, N_k, D), v (B, h, N_k, E) to tokens (B, N_q, h E).

        The bias is read from the table at every call. A cache of it would be stale after the table changed; both
        public implementations have had that bug.
        """
        q, k, v = tap("q", q), tap("k", k), tap("v", v)
        bias = saved_bias = None
        if self.attention_biases is not None:
            bias, saved_bias = F.position_bias_forward(self.attention_biases.data, self.attention_bias_index)
            bias = tap("bias", bias)  # (h, N_q, N_k)
        context, saved = F.attention_forward(q, k, v, bias, scale=self.scale, tap=tap)  # (B, h, N_q, E)
        self.remember((saved, saved_bias))
        return F.merge_heads(context)

    def attend_backward(self, dy: Array, tap: Tap) -> tuple[Array, Array, Array]:
        """(B, N_q, h E) to the gradients of q, k and v."""
        saved, saved_bias = self.recall()
        (dcontext,) = F.split_heads(dy, self.num_heads)  # (B, h, N_q, E)
        dq, dk, dv, dbias = F.attention_backward(dcontext, saved, tap=tap)
        if self.attention_biases is not None:
            self.attention_biases.grad += F.position_bias_backward(tap("bias", dbias), saved_bias)
        return tap("q", dq), tap("k", dk), tap("v", dv)


class Attention(BiasedAttention):
    """Every token asks all tokens of its map (paper, section 4.2 and figure 5, left).

    Values are wider than keys (``attn_ratio``), since the bias relieves the keys of encoding the position.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
        Which entries of the configuration's per-stage numbers to take.
    grid : TokenGrid
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    """

    def __init__(self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator | None) -> None:
        dim, heads = config.embed_dims[stage], config.num_heads[stage]
        super().__init__(config, heads, grid, stride=1)
        self.value_dim = int(config.attn_ratio * config.key_dim)
        self.widths = (self.key_dim, self.key_dim, self.value_dim)  # of q, k and v, which one product makes
        self.norm = LayerNorm(dim) if config.norm == "layer" else None
        self.qkv = LinearNorm(dim, heads * sum(self.widths), config.norm, rng)
        self.proj = Projection(config, heads * self.value_dim, dim, rng, scale=0)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C) to (B, N, C)."""
        if self.norm is not None:
            x = tap("norm", self.norm.forward(x))
        qkv = self.qkv.forward(x, tap.scope("qkv"))  # (B, N, h (D + D + E))
        q, k, v = F.split_heads(qkv, self.num_heads, self.widths)
        x = self.attend(q, k, v, tap)  # (B, N, h E)
        return self.proj.forward(x, tap.scope("proj"))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.proj.backward(dy, tap.scope("proj"))  # (B, N, h E)
        dqkv = F.merge_heads(*self.attend_backward(dx, tap))  # (B, N, h (D + D + E))
        dx = self.qkv.backward(dqkv, tap.scope("qkv"))  # (B, N, C)
        return dx if self.norm is None else self.norm.backward(tap("norm", dx))


class AttentionDownsample(BiasedAttention):
    """Shrinking attention: every second token of each axis asks all tokens (section 4.2, figure 5, right).

    Its values are wider still (``downsample_attn_ratio``), so that little is lost where the map shrinks. It has no
    residual path, since input and output differ in shape, and so no zero-initialised normalisation either.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
        The stage that this leads into, at least 1.
    grid : TokenGrid
        Of the input.
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    """

    stride = 2

    def __init__(self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator | None) -> None:
        in_dim, out_dim = config.embed_dims[stage - 1 : stage + 1]
        heads = config.downsample_heads[stage - 1]
        super().__init__(config, heads, grid, self.stride)
        self.value_dim = int(config.downsample_attn_ratio * config.key_dim)
        self.norm = LayerNorm(in_dim) if config.norm == "layer" else None
        self.kv = LinearNorm(in_dim, heads * (self.key_dim + self.value_dim), config.norm, rng)
        self.q = SubsampledLinear(in_dim, heads * self.key_dim, grid, self.stride, config.norm, rng)
        self.proj = Projection(config, heads * self.value_dim, out_dim, rng, scale=1)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, H W, C_in) to (B, ceil(H / stride) ceil(W / stride), C_out)."""
        if self.norm is not None:
            x = tap("norm", self.norm.forward(x))
        kv = self.kv.forward(x, tap.scope("kv"))  # (B, N_k, h (D + E))
        k, v = F.split_heads(kv, self.num_heads, (self.key_dim, self.value_dim))
        (q,) = F.split_heads(self.q.forward(x, tap.scope("q")), self.num_heads)  # (B, h, N_q, D)
        x = self.attend(q, k, v, tap)  # (B, N_q, h E)
        return self.proj.forward(x, tap.scope("proj"))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input, which feeds queries as well as keys and values."""
        dx = self.proj.backward(dy, tap.scope("proj"))  # (B, N_q, h E)
        dq, dk, dv = self.attend_backward(dx, tap)
        dx_kv = self.kv.backward(F.merge_heads(dk, dv), tap.scope("kv"))  # (B, N_k, C_in)
        dx_q = self.q.backward(F.merge_heads(dq), tap.scope("q"))  # (B, N_k, C_in)
        dx, _ = F.residual_forward(dx_kv, dx_q)  # the sum
        return dx if self.norm is None else self.norm.backward(tap("norm", dx))


class SubsampledLinear(Module):
    """Every ``stride``-th token of each axis, then linear layer and normalisation: the queries where attention shrinks.

    Parameters
    ----------
    C_in, C_out : int
    grid : TokenGrid
        Of the input.
    stride : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    """

    taps: ClassVar[Taps] = {"down": ("B N C", "the tokens that become queries: every second one of each axis")}

    def __init__(
        self, C_in: int, C_out: int, grid: TokenGrid, stride: int, norm: str, rng: np.random.Generator | None
    ) -> None:
        self.grid, self.stride = grid, stride
        self.ln = LinearNorm(C_in, C_out, norm, rng)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, H W, C_in) to (B, N_q, C_out)."""
        x, saved = F.subsample_forward(x, resolution=self.grid.shape, stride=self.stride)
        self.remember(saved)
        return self.ln.forward(tap("down", x), tap.scope("ln"))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.ln.backward(dy, tap.scope("ln"))
        return F.subsample_backward(tap("down", dx), self.recall())
