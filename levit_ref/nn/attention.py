"""Attention with a learned position bias, and the attention that shrinks the map between two stages.

Axes: ``B`` batch, ``N`` tokens, ``C`` channels, ``h`` heads, ``D`` key channels and ``E`` value channels of one head.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.layers import Activation, LayerNorm
from levit_ref.nn.module import Module, Parameter
from levit_ref.nn.pairs import LinearNorm
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops._checks import Array
from levit_ref.ops.attention import AttentionSaved
from levit_ref.runtime import F, computes_again, empty


class Projection(Module):
    """Activation, then linear layer and normalisation: what happens to the heads' outputs.

    Parameters
    ----------
    C_in, C_out : int
    activation : str
        LeViT's hardswish here makes up for the missing normalisation of the value path; ablation A7 takes it away.
    norm : {"batch", "layer"}
    norm_weight : float
        Initial scale of the normalisation.
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {"act": ("B N C", "the heads' outputs side by side, behind the activation")}

    def __init__(
        self, C_in: int, C_out: int, *, activation: str, norm: str, norm_weight: float, rng: np.random.Generator
    ) -> None:
        self.act = Activation(activation)
        self.ln = LinearNorm(C_in, C_out, norm=norm, norm_weight=norm_weight, rng=rng)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C_in) to (B, N, C_out)."""
        x = tap("act", self.act.forward(x))
        return self.ln.forward(x, tap.scope("ln"), self.act.again if tap is no_tap else None)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.ln.backward(dy, tap.scope("ln"))
        return self.act.backward(tap("act", dx))


class BiasedAttention(Module):
    """What the two attentions share: the bias table, the core from q, k, v to tokens, and back.

    Parameters
    ----------
    num_heads, key_dim : int
    grid : TokenGrid
        Of the keys.
    stride : int
        Of the queries on it.
    bias : bool
        False (ablation A5) leaves the table out.
    """

    taps: ClassVar[Taps] = {
        "norm": ("B N C", "the input behind layer normalisation (ablation A3 only)"),
        "q": ("B heads N_q D", "queries of each head"),
        "k": ("B heads N_k D", "keys of each head"),
        "v": ("B heads N_k E", "values of each head"),
        "bias": ("heads N_q N_k", "position bias of every query and key, gathered from the table; no batch axis"),
        "scores": ("B heads N_q N_k", "scaled products of queries and keys, before the bias"),
        "scores_biased": ("B heads N_q N_k", "scores with the position bias: what the softmax sees"),
        "probs": ("B heads N_q N_k", "attention probabilities: every row sums to 1"),
        "context": ("B heads N_q E", "output of each head: the values weighted by the probabilities"),
    }

    def __init__(self, *, num_heads: int, key_dim: int, grid: TokenGrid, stride: int, bias: bool) -> None:
        self.num_heads, self.key_dim = num_heads, key_dim
        self.scale = key_dim**-0.5
        self.keys, self.queries = grid, grid.every(stride)
        self.attention_biases = Parameter(np.zeros((num_heads, grid.tokens))) if bias else None  # (h, offsets)
        self.attention_bias_index = F.position_bias_index(grid.shape, stride)  # (N_q, N_k)

    def heads_again(self) -> Sequence[Array]:
        """The q, k and v of the most recent forward pass, if it was not tapped."""
        raise TypeError(f"{type(self).__name__} does not define heads_again")

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
        context, saved = F.attention_forward(q, k, v, bias, scale=self.scale, tap=tap)
        qkv, others = saved[:3], saved[3:]
        self.remember((None if tap is no_tap and computes_again() else qkv, others, saved_bias))
        return _merge_heads(context)

    def attend_backward(self, dy: Array, out: Sequence[Array], tap: Tap) -> None:
        """(B, N_q, h E) to the gradients of q, k and v, which are written to the three arrays of ``out``."""
        qkv, others, saved_bias = self.recall()
        q, k, v = self.heads_again() if qkv is None else qkv
        saved = AttentionSaved(q, k, v, *others)
        (dcontext,) = _split_heads(dy, self.num_heads)
        *_, dbias = F.attention_backward(dcontext, saved, tap=tap, out=out)
        if self.attention_biases is not None:
            self.attention_biases.grad += F.position_bias_backward(tap("bias", dbias), saved_bias)
        if tap is not no_tap:
            for name, gradient in zip(("q", "k", "v"), out, strict=True):
                gradient[...] = tap(name, gradient.copy())  # a copy, since the tap may keep it


class Attention(BiasedAttention):
    """Every token asks all tokens of its map (paper, section 4.2 and figure 5, left).

    Parameters
    ----------
    dim : int
        C, of input and output.
    key_dim, num_heads : int
        D and h.
    attn_ratio : float
        E / D: values are wider than keys, since the bias relieves the keys of encoding the position.
    grid : TokenGrid
    activation, norm : str
    bias : bool
        Whether there is a position bias.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        dim: int,
        *,
        key_dim: int,
        num_heads: int,
        attn_ratio: float,
        grid: TokenGrid,
        activation: str,
        norm: str,
        bias: bool,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(num_heads=num_heads, key_dim=key_dim, grid=grid, stride=1, bias=bias)
        self.value_dim = int(attn_ratio * key_dim)
        self.widths = (key_dim, key_dim, self.value_dim)  # of q, k and v, which one product makes
        self.norm = LayerNorm(dim) if norm == "layer" else None
        self.qkv = LinearNorm(dim, num_heads * (2 * key_dim + self.value_dim), norm=norm, rng=rng)
        self.proj = Projection(
            num_heads * self.value_dim, dim, activation=activation, norm=norm, norm_weight=0, rng=rng
        )

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C) to (B, N, C)."""
        if self.norm is not None:
            x = tap("norm", self.norm.forward(x))
        qkv = self.qkv.forward(x, tap.scope("qkv"))  # (B, N, h (D + D + E))
        q, k, v = _split_heads(qkv, self.num_heads, *self.widths)
        x = self.attend(q, k, v, tap)  # (B, N, h E)
        return self.proj.forward(x, tap.scope("proj"))

    def heads_again(self) -> Sequence[Array]:
        """The q, k and v of the most recent forward pass, if it was not tapped."""
        return _split_heads(self.qkv.again(), self.num_heads, *self.widths)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.proj.backward(dy, tap.scope("proj"))  # (B, N, h E)
        dqkv, columns = _room_for_heads(dx.shape[:2], self.num_heads, self.widths, dx.dtype)
        self.attend_backward(dx, columns, tap)
        dx = self.qkv.backward(dqkv, tap.scope("qkv"))  # (B, N, C)
        return dx if self.norm is None else self.norm.backward(tap("norm", dx))


class AttentionDownsample(BiasedAttention):
    """Shrinking attention: every second token of each axis asks all tokens (section 4.2, figure 5, right).

    It has no residual path, since input and output differ in shape, and so no zero-initialised normalisation either.

    Parameters
    ----------
    in_dim, out_dim : int
        Channels before and after.
    key_dim, num_heads : int
    attn_ratio : float
        E / D; 4 in the paper, so that little is lost where the map shrinks.
    stride : int
    grid : TokenGrid
        Of the input.
    activation, norm : str
    bias : bool
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        key_dim: int,
        num_heads: int,
        attn_ratio: float,
        stride: int,
        grid: TokenGrid,
        activation: str,
        norm: str,
        bias: bool,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(num_heads=num_heads, key_dim=key_dim, grid=grid, stride=stride, bias=bias)
        self.stride = stride
        self.value_dim = int(attn_ratio * key_dim)
        self.norm = LayerNorm(in_dim) if norm == "layer" else None
        self.kv = LinearNorm(in_dim, num_heads * (key_dim + self.value_dim), norm=norm, rng=rng)
        self.q = SubsampledLinear(in_dim, num_heads * key_dim, grid=grid, stride=stride, norm=norm, rng=rng)
        self.proj = Projection(
            num_heads * self.value_dim, out_dim, activation=activation, norm=norm, norm_weight=1, rng=rng
        )

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, H W, C_in) to (B, ceil(H / stride) ceil(W / stride), C_out)."""
        if self.norm is not None:
            x = tap("norm", self.norm.forward(x))
        kv = self.kv.forward(x, tap.scope("kv"))  # (B, N_k, h (D + E))
        k, v = _split_heads(kv, self.num_heads, self.key_dim, self.value_dim)
        (q,) = _split_heads(self.q.forward(x, tap.scope("q")), self.num_heads)  # (B, h, N_q, D)
        x = self.attend(q, k, v, tap)  # (B, N_q, h E)
        return self.proj.forward(x, tap.scope("proj"))

    def heads_again(self) -> Sequence[Array]:
        """The q, k and v of the most recent forward pass, if it was not tapped."""
        q = _split_heads(self.q.again(), self.num_heads)
        return q + _split_heads(self.kv.again(), self.num_heads, self.key_dim, self.value_dim)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input, which feeds queries as well as keys and values."""
        dx = self.proj.backward(dy, tap.scope("proj"))  # (B, N_q, h E)
        (B, N_q, _), N_k = dx.shape, self.keys.tokens
        dq, q_columns = _room_for_heads((B, N_q), self.num_heads, (self.key_dim,), dx.dtype)
        dkv, kv_columns = _room_for_heads((B, N_k), self.num_heads, (self.key_dim, self.value_dim), dx.dtype)
        self.attend_backward(dx, q_columns + kv_columns, tap)
        dx = self.kv.backward(dkv, tap.scope("kv"))  # (B, N_k, C_in)
        dx, _ = F.residual_forward(dx, self.q.backward(dq, tap.scope("q")))  # the sum
        return dx if self.norm is None else self.norm.backward(tap("norm", dx))


class SubsampledLinear(Module):
    """Every ``stride``-th token of each axis, then linear layer and normalisation: the queries where attention shrinks.

    Parameters
    ----------
    C_in, C_out : int
    grid : TokenGrid
    stride : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {"down": ("B N C", "the tokens that become queries: every second one of each axis")}

    def __init__(
        self, C_in: int, C_out: int, *, grid: TokenGrid, stride: int, norm: str, rng: np.random.Generator
    ) -> None:
        self.grid, self.stride = grid, stride
        self.ln = LinearNorm(C_in, C_out, norm=norm, rng=rng)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, H W, C_in) to (B, N_q, C_out)."""
        x, saved = F.subsample_forward(x, resolution=self.grid.shape, stride=self.stride)
        self.remember(saved)
        return self.ln.forward(tap("down", x), tap.scope("ln"))

    def again(self) -> Array:
        """The output of the most recent forward pass, if it was not tapped."""
        return self.ln.again()

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.ln.backward(dy, tap.scope("ln"))
        return F.subsample_backward(tap("down", dx), self.recall())


def _split_heads(x: Array, heads: int, *widths: int) -> list[Array]:
    """(B, N, h (d + e + ...)) to its columns (B, h, N, d), (B, h, N, e), ..., views; without widths there is one."""
    B, N, C = x.shape
    of_heads = x.reshape(B, N, heads, C // heads).transpose(0, 2, 1, 3)
    widths = widths or (C // heads,)
    return [of_heads[..., end - width : end] for width, end in zip(widths, accumulate(widths), strict=True)]


def _room_for_heads(
    leading: tuple[int, ...], heads: int, widths: tuple[int, ...], dtype: npt.DTypeLike
) -> tuple[Array, list[Array]]:
    """Memory for (B, N, h (d + e + ...)), and its columns as :func:`_split_heads` has them."""
    x = empty((*leading, heads * sum(widths)), dtype)
    return x, _split_heads(x, heads, *widths)


def _merge_heads(x: Array) -> Array:
    """(B, h, N, d) to (B, N, h d); a copy, unless the heads lie side by side in memory already."""
    B, heads, N, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, N, heads * d)
