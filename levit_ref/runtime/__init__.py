"""What runs the operations: the choice of a backend, and how many threads it has."""

from levit_ref.runtime.memory import empty
from levit_ref.runtime.registry import (
    BACKENDS,
    Backend,
    F,
    available_backends,
    backend,
    backends,
    computes_again,
    describe_backend,
    get_backend,
    native_serves,
    set_backend,
)
from levit_ref.runtime.threads import THREAD_VARIABLES, num_threads, set_num_threads, use_threads

__all__ = [
    "BACKENDS",
    "THREAD_VARIABLES",
    "Backend",
    "F",
    "available_backends",
    "backend",
    "backends",
    "computes_again",
    "describe_backend",
    "empty",
    "get_backend",
    "native_serves",
    "num_threads",
    "set_backend",
    "set_num_threads",
    "use_threads",
]
