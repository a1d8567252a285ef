"""The number of threads, which for NumPy can be chosen only before it is loaded."""

from __future__ import annotations

import os
import sys

from levit_ref.training.run_folder import THREAD_VARIABLES


def use_threads(count: int) -> None:
    """Make sure that this process computes with ``count`` threads; 0 leaves it to the machine.

    BLAS libraries read the environment once, when they are loaded, and by the time that a command line has been
    parsed NumPy has loaded its own. So, unless the environment says ``count`` already, the process starts itself
    anew with the same command line in an environment that does. This function then does not return.

    Parameters
    ----------
    count : int
    """
    wanted = {name: str(count) for name in THREAD_VARIABLES}
    if count == 0 or all(os.environ.get(name) == value for name, value in wanted.items()):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
