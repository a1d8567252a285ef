"""What runs the operations: the choice of a backend, and how many threads it has."""

from levit_ref.runtime.backends import (
    BACKENDS,
    Backend,
    active_kernels,
    available_backends,
    backends,
    describe_backend,
    get_backend,
    set_backend,
    use_backend,
)
from levit_ref.runtime.threads import blas_threads, num_threads, set_num_threads, use_threads

__all__ = [
    "BACKENDS",
    "Backend",
    "active_kernels",
    "available_backends",
    "backends",
    "blas_threads",
    "describe_backend",
    "get_backend",
    "num_threads",
    "set_backend",
    "set_num_threads",
    "use_backend",
    "use_threads",
]
