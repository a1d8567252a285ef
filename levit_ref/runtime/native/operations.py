"""All operations of the native backend: those that have a kernel, and NumPy's for the rest."""

from levit_ref.ops import *  # noqa: F403
from levit_ref.runtime.native.conv import conv2d_backward, conv2d_forward
from levit_ref.runtime.native.linear import linear_backward, linear_forward

__all__ = ["conv2d_backward", "conv2d_forward", "linear_backward", "linear_forward"]
