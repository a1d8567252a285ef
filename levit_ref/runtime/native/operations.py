"""All operations of the native backend: those that have a kernel, and NumPy's for the rest."""
# ruff: noqa: F401, F403

from levit_ref.ops import *
from levit_ref.runtime.native.activations import (
    gelu_backward,
    gelu_forward,
    hardswish_backward,
    hardswish_forward,
    relu_backward,
    relu_forward,
    silu_backward,
    silu_forward,
)
from levit_ref.runtime.native.attention import attention_backward, attention_forward
from levit_ref.runtime.native.batch_norm import batch_norm_again, batch_norm_backward, batch_norm_forward
from levit_ref.runtime.native.conv2d import conv2d_backward, conv2d_forward
from levit_ref.runtime.native.linear import linear_backward, linear_forward
from levit_ref.runtime.native.losses import cross_entropy_backward, cross_entropy_forward
from levit_ref.runtime.native.pooling import global_average_pool_backward, global_average_pool_forward
from levit_ref.runtime.native.position_bias import position_bias_backward, position_bias_forward
from levit_ref.runtime.native.residual import residual_backward, residual_forward
from levit_ref.runtime.native.softmax import softmax_backward, softmax_forward
from levit_ref.runtime.native.subsample import subsample_backward, subsample_forward
