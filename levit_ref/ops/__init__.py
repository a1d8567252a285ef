"""The mathematics: every operation of LeViT, forward and backward side by side, in plain NumPy.

The contract of all of them::

    y, saved = linear_forward(x, weight)        # the result, and exactly what backward needs
    dx, dweight, _ = linear_backward(dy, saved) # one gradient for each array input, in the same order

Pure functions: no argument is changed, any floating dtype goes in and the same comes out.
"""

from levit_ref.ops._checks import Array, untapped
from levit_ref.ops.activations import (
    ACTIVATIONS,
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
from levit_ref.ops.attention import attention_backward, attention_forward
from levit_ref.ops.batch_norm import (
    batch_norm_again,
    batch_norm_backward,
    batch_norm_forward,
    update_running_statistics,
)
from levit_ref.ops.conv2d import conv2d_backward, conv2d_forward, conv2d_output_size
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
from levit_ref.ops.pooling import global_average_pool_backward, global_average_pool_forward
from levit_ref.ops.position_bias import position_bias_backward, position_bias_forward, position_bias_index
from levit_ref.ops.residual import drop_path_factor, residual_backward, residual_forward
from levit_ref.ops.softmax import log_softmax, softmax_backward, softmax_forward
from levit_ref.ops.subsample import subsample_backward, subsample_forward

__all__ = [
    "ACTIVATIONS",
    "Array",
    "attention_backward",
    "attention_forward",
    "batch_norm_again",
    "batch_norm_backward",
    "batch_norm_forward",
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
    "position_bias_backward",
    "position_bias_forward",
    "position_bias_index",
    "relu_backward",
    "relu_forward",
    "residual_backward",
    "residual_forward",
    "silu_backward",
    "silu_forward",
    "soft_distillation_backward",
    "soft_distillation_forward",
    "softmax_backward",
    "softmax_forward",
    "subsample_backward",
    "subsample_forward",
    "target_distribution",
    "untapped",
    "update_running_statistics",
]
