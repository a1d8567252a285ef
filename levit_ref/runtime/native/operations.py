"""All operations of the native backend: those that have a kernel, and NumPy's for the rest."""

from levit_ref.ops import *  # noqa: F403
from levit_ref.runtime.native.attention import attention_backward, attention_forward
from levit_ref.runtime.native.linear import linear_backward, linear_forward
from levit_ref.runtime.native.pooling import global_average_pool_backward, global_average_pool_forward
from levit_ref.runtime.native.position_bias import position_bias_backward, position_bias_forward
from levit_ref.runtime.native.softmax import softmax_backward, softmax_forward
from levit_ref.runtime.native.subsample import subsample_backward, subsample_forward

__all__ = [
    "attention_backward",
    "attention_forward",
    "global_average_pool_backward",
    "global_average_pool_forward",
    "linear_backward",
    "linear_forward",
    "position_bias_backward",
    "position_bias_forward",
    "softmax_backward",
    "softmax_forward",
    "subsample_backward",
    "subsample_forward",
]
