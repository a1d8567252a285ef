"""The components of LeViT, one file each, and the network they make."""

from levit_ref.nn.attention import Attention, AttentionDownsample
from levit_ref.nn.blocks import Block, Downsample, Stage
from levit_ref.nn.config import LeViTConfig, StemConv
from levit_ref.nn.drop_path import DropPath
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.layers import Activation, BatchNorm, Conv2d, LayerNorm, Linear
from levit_ref.nn.levit import HeadLogits, LeViT
from levit_ref.nn.memory import lean_backward, separate_pass
from levit_ref.nn.mlp import Mlp
from levit_ref.nn.module import Buffer, Module, Parameter
from levit_ref.nn.pairs import ConvNorm, LinearNorm, NormLinear
from levit_ref.nn.specs import ActivationSpec
from levit_ref.nn.stem import Stem
from levit_ref.nn.tap import FunctionTap, SelectiveTap, Tap, no_tap

__all__ = [
    "Activation",
    "ActivationSpec",
    "Attention",
    "AttentionDownsample",
    "BatchNorm",
    "Block",
    "Buffer",
    "Conv2d",
    "ConvNorm",
    "Downsample",
    "DropPath",
    "FunctionTap",
    "HeadLogits",
    "LayerNorm",
    "LeViT",
    "LeViTConfig",
    "Linear",
    "LinearNorm",
    "Mlp",
    "Module",
    "NormLinear",
    "Parameter",
    "SelectiveTap",
    "Stage",
    "Stem",
    "StemConv",
    "Tap",
    "TokenGrid",
    "lean_backward",
    "no_tap",
    "separate_pass",
]
