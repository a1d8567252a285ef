"""LeViT written as one would in PyTorch, for timing beside ours: the layers and the names of timm's.

transformers' LeViT, the oracle of the tests, has its four-convolution stem built in and cannot take 32x32 pictures.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from levit_ref.nn import LeViTConfig
from levit_ref.ops import position_bias_index


class ConvNorm(nn.Sequential):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.add_module("linear", nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False))
        self.add_module("bn", nn.BatchNorm2d(c_out))


class LinearNorm(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.linear, self.bn = nn.Linear(c_in, c_out, bias=False), nn.BatchNorm1d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.bn(x.flatten(0, 1)).reshape_as(x)


class Attention(nn.Module):
    """Both attentions: with ``stride`` 1 queries, keys and values come out of one product."""

    index: Tensor

    def __init__(
        self, c_in: int, c_out: int, d: int, heads: int, ratio: float, resolution: tuple[int, int], stride: int
    ):
        super().__init__()
        self.heads, self.d, self.e, self.stride, self.resolution = heads, d, int(ratio * d), stride, resolution
        if stride == 1:
            self.qkv = LinearNorm(c_in, heads * (2 * d + self.e))
        else:
            self.kv = LinearNorm(c_in, heads * (d + self.e))
            self.q = nn.Sequential(OrderedDict(ln=LinearNorm(c_in, heads * d)))
        self.proj = nn.Sequential(OrderedDict(act=nn.Hardswish(), ln=LinearNorm(heads * self.e, c_out)))
        self.attention_biases = nn.Parameter(torch.zeros(heads, resolution[0] * resolution[1]))
        self.register_buffer("index", torch.from_numpy(position_bias_index(resolution, stride)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        if self.stride == 1:
            q, k, v = self.qkv(x).view(b, n, self.heads, -1).split([self.d, self.d, self.e], dim=3)
        else:
            k, v = self.kv(x).view(b, n, self.heads, -1).split([self.d, self.e], dim=3)
            kept = x.view(b, *self.resolution, c)[:, :: self.stride, :: self.stride].reshape(b, -1, c)
            q = self.q(kept).view(b, -1, self.heads, self.d)
        q, k, v = q.transpose(1, 2), k.permute(0, 2, 3, 1), v.transpose(1, 2)
        scores = (q @ k) * self.d**-0.5 + self.attention_biases[:, self.index]
        x = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, -1, self.heads * self.e)
        return self.proj(x)


class Mlp(nn.Module):
    def __init__(self, c: int, hidden: int) -> None:
        super().__init__()
        self.ln1, self.act, self.ln2 = LinearNorm(c, hidden), nn.Hardswish(), LinearNorm(hidden, c)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln2(self.act(self.ln1(x)))


class Block(nn.Module):
    def __init__(self, attn: Attention, mlp: Mlp) -> None:
        super().__init__()
        self.attn, self.mlp = attn, mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Downsample(nn.Module):
    def __init__(self, attn: Attention, mlp: Mlp) -> None:
        super().__init__()
        self.attn_downsample, self.mlp = attn, mlp

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn_downsample(x)
        return x + self.mlp(x)


class TorchLeViT(nn.Module):
    """A variant with batch normalisation and hardswish; returns the logits of all heads."""

    def __init__(self, config: LeViTConfig, num_classes: int, resolution: tuple[int, int]) -> None:
        super().__init__()
        stem: OrderedDict[str, nn.Module] = OrderedDict()
        c_in = 3
        for i, conv in enumerate(config.stem, start=1):
            if i > 1:
                stem[f"act{i - 1}"] = nn.Hardswish()
            stem[f"conv{i}"] = ConvNorm(c_in, conv.channels, conv.kernel_size, conv.stride, conv.padding)
            c_in = conv.channels
        self.stem = nn.Sequential(stem)
        self.stages = nn.Sequential()
        for i, c in enumerate(config.embed_dims):
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            d, ratio = config.key_dim, config.attn_ratio
            if i > 0:
                heads, wide = config.downsample_heads[i - 1], config.downsample_attn_ratio
                attn = Attention(config.embed_dims[i - 1], c, d, heads, wide, resolution, stride=2)
                stage["downsample"] = Downsample(attn, Mlp(c, int(c * config.downsample_mlp_ratio)))
                resolution = (-(-resolution[0] // 2), -(-resolution[1] // 2))
            blocks = [
                Block(
                    Attention(c, c, d, config.num_heads[i], ratio, resolution, stride=1),
                    Mlp(c, int(c * config.mlp_ratio)),
                )
                for _ in range(config.depths[i])
            ]
            stage["blocks"] = nn.Sequential(*blocks)
            self.stages.append(nn.Sequential(stage))
        for name in ["head", "head_dist"] if config.distillation else ["head"]:
            c = config.embed_dims[-1]
            setattr(self, name, nn.Sequential(OrderedDict(bn=nn.BatchNorm1d(c), linear=nn.Linear(c, num_classes))))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images).flatten(2).transpose(1, 2)
        x = self.stages(x).mean(1)
        return [getattr(self, name)(x) for name in ("head", "head_dist") if hasattr(self, name)]
