"""The folder of a run: what lies in it, and when it may be written to.

==========================  =====================================================================
file                        content
==========================  =====================================================================
``config.toml``             every setting; ``levit-ref train --config config.toml`` repeats the run
``run.json``                version, command line, environment; one entry for each session
``metrics.jsonl``           one line for each epoch
``last.safetensors``        the full state, for resuming
``best.safetensors``        the model with the best test accuracy so far
``curves.png``              loss, accuracy and learning rate over the epochs
``confusion.png``           which classes are taken for which
``.lock``                   empty; held by the process that trains
==========================  =====================================================================
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from levit_ref._version import __version__
from levit_ref.files import replace_text
from levit_ref.runtime import blas_threads, describe_backend, num_threads
from levit_ref.training.config import TrainConfig


class RunFolder:
    """Paths of a run.

    Parameters
    ----------
    path : path-like
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.run = self.path / "run.json"
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion.png"

    @property
    def holds_a_run(self) -> bool:
        """Whether a run has been started here."""
        return self.config.exists()

    def check_unused(self) -> None:
        """Raise ``FileExistsError`` if there is anything in the way: a run is never overwritten."""
        if self.holds_a_run:
            raise FileExistsError(
                f"{self.path}: already holds a run; continue it with --resume or choose another folder"
            )
        # hidden files may be those of a process that was killed before it had recorded its settings
        if self.path.exists() and not (self.path.is_dir() and all(p.name.startswith(".") for p in self.path.iterdir())):
            raise FileExistsError(f"{self.path}: exists and is not an empty folder; choose another folder")

    def create(self, config: TrainConfig) -> None:
        """Make the folder, which must be unused, and record the settings."""
        self.check_unused()
        self.path.mkdir(parents=True, exist_ok=True)
        self.record_config(config)

    def record_config(self, config: TrainConfig) -> None:
        """Write the settings, in place of those before."""
        replace_text(self.config, config.to_toml())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from running here; the lock goes with the process, however it ends.

        Raises
        ------
        FileExistsError
            If another process has the lock. On Windows, which has no such locks, nothing is locked.
        """
        if sys.platform == "win32":
            yield
            return
        import fcntl  # here: Windows has no such module

        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(f"{self.path}: another process is training in this folder") from None
            yield

    def read_config(self) -> TrainConfig:
        """The settings that the run was started with.

        Raises
        ------
        FileNotFoundError
            If no run has been started here.
        """
        if not self.holds_a_run:
            raise FileNotFoundError(f"{self.path}: holds no run to resume ({self.config.name} is missing)")
        return TrainConfig.load(self.config)

    def record_session(self, command: str) -> None:
        """Add the environment of this process to ``run.json``."""
        sessions = json.loads(self.run.read_text(encoding="utf-8"))["sessions"] if self.run.exists() else []
        sessions.append(describe_environment() | {"command": command})
        replace_text(self.run, json.dumps({"sessions": sessions}, indent=2) + "\n")


def describe_environment() -> dict[str, Any]:
    """What, beside the settings, has an influence on speed and on the last bits of a result."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "levit_ref": __version__,
        "backend": describe_backend(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "threads": {"kernels": num_threads(), "blas": blas_threads()},
        "cpus": os.cpu_count(),
        "platform": f"{sys.platform} {platform.machine()}",
    }
