"""The mathematics: every operation of LeViT, forward and backward side by side, in plain NumPy.

The contract of all of them::

    y, saved = linear_forward(x, weight)        # the result, and exactly what backward needs
    dx, dweight, _ = linear_backward(dy, saved) # one gradient for each array input, in the same order

Any floating dtype goes in and the same comes out. No argument is changed; what training updates in place (the steps of
the optimiser, of the average, of clipping) says so.
"""

from levit_ref.ops._types import Array, IntArray, Tap, untapped
from levit_ref.ops.activations import (
    ACTIVATIONS,
    activation_backward,
    activation_forward,
    gelu_backward,
    gelu_forward,
    hardswish_backward,
    hardswish_forward,
    identity_backward,
    identity_forward,
    relu_backward,
    relu_forward,
    silu_backward,
    silu_forward,
)
from levit_ref.ops.adamw import adamw_step
from levit_ref.ops.attention import attention_backward, attention_forward
from levit_ref.ops.batch_norm import (
    batch_norm_again,
    batch_norm_backward,
    batch_norm_backward_sums,
    batch_norm_forward,
    batch_norm_statistics,
    update_running_statistics,
)
from levit_ref.ops.clipping import clip_units, global_norm, scale_gradient
from levit_ref.ops.conv2d import conv2d_backward, conv2d_forward, conv2d_output_size
from levit_ref.ops.heads import merge_heads, split_heads
from levit_ref.ops.layer_norm import layer_norm_backward, layer_norm_forward
from levit_ref.ops.linear import linear_backward, linear_forward
from levit_ref.ops.losses import (
    cross_entropy_backward,
    cross_entropy_forward,
    hard_distillation_backward,
    hard_distillation_forward,
    soft_distillation_backward,
    soft_distillation_forward,
    target_distribution,
)
from levit_ref.ops.moving_average import move_average
from levit_ref.ops.pictures import augment, normalise
from levit_ref.ops.pooling import global_average_pool_backward, global_average_pool_forward
from levit_ref.ops.position_bias import position_bias_backward, position_bias_forward, position_bias_index
from levit_ref.ops.residual import drop_path_factor, residual_backward, residual_forward
from levit_ref.ops.softmax import log_softmax, softmax_backward, softmax_forward
from levit_ref.ops.subsample import subsample_backward, subsample_forward

__all__ = [
    "ACTIVATIONS",
    "Array",
    "IntArray",
    "Tap",
    "activation_backward",
    "activation_forward",
    "adamw_step",
    "attention_backward",
    "attention_forward",
    "augment",
    "batch_norm_again",
    "batch_norm_backward",
    "batch_norm_backward_sums",
    "batch_norm_forward",
    "batch_norm_statistics",
    "clip_units",
    "conv2d_backward",
    "conv2d_forward",
    "conv2d_output_size",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "drop_path_factor",
    "gelu_backward",
    "gelu_forward",
    "global_average_pool_backward",
    "global_average_pool_forward",
    "global_norm",
    "hard_distillation_backward",
    "hard_distillation_forward",
    "hardswish_backward",
    "hardswish_forward",
    "identity_backward",
    "identity_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "linear_backward",
    "linear_forward",
    "log_softmax",
    "merge_heads",
    "move_average",
    "normalise",
    "position_bias_backward",
    "position_bias_forward",
    "position_bias_index",
    "relu_backward",
    "relu_forward",
    "residual_backward",
    "residual_forward",
    "scale_gradient",
    "silu_backward",
    "silu_forward",
    "soft_distillation_backward",
    "soft_distillation_forward",
    "softmax_backward",
    "softmax_forward",
    "split_heads",
    "subsample_backward",
    "subsample_forward",
    "target_distribution",
    "untapped",
    "update_running_statistics",
]
