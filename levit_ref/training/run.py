"""``train``: a run from its settings and its folder, new or resumed."""

from __future__ import annotations

import os
import shlex

from levit_ref.runtime import describe_backend, get_backend, use_backend, use_threads
from levit_ref.settings import ConfigError
from levit_ref.training.config import TrainConfig
from levit_ref.training.parts import Datasets, load_datasets
from levit_ref.training.progress import Progress
from levit_ref.training.run_folder import RunFolder
from levit_ref.training.session import Session, TrainResult


def train(
    config: TrainConfig | None,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    datasets: Datasets | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> TrainResult:
    """Train a model, with everything about the run kept in its folder.

    Parameters
    ----------
    config : TrainConfig or None
        None only with ``resume``: the settings that the run was started with. Given with ``resume``, it must agree
        with them in all that has an influence on the result, but for more ``epochs``: these prolong the run, whose
        learning rate follows the longer schedule from there on.
    run_dir : path-like
        Made if it is not there. What lies in it: :mod:`levit_ref.training.run_folder`.
    resume : bool
        Continue the run in ``run_dir`` from its last checkpoint, to the same bits as without the interruption; a
        run killed before its first checkpoint starts again.
    datasets : Datasets, optional
        Pictures of one's own; else those that the settings name.
    progress : Progress, optional
        By default on standard output.
    command : str
        Command line to record in the folder.

    Returns
    -------
    result : TrainResult
        Its ``exit_status`` is 0 if all epochs are done, 130 after Ctrl-C and 143 after SIGTERM.

    Raises
    ------
    FileExistsError
        If the folder holds something and ``resume`` is false.
    FileNotFoundError
        If there is no run to resume, or pictures or a teacher are missing.
    ConfigError, CheckpointError, ValueError
        If settings, checkpoint or pictures do not go together.
    NonFiniteError
        If the loss is NaN or infinite; the message names the layer where it began.
    """
    folder = RunFolder(run_dir)
    if resume:
        recorded = folder.read_config()
        config = recorded if config is None else config
        config = config.replace(backend=config.backend or recorded.backend or get_backend())
    elif config is None:
        raise ConfigError("train: a new run needs a configuration")
    else:
        folder.check_unused()  # before the pictures are loaded, which may take long
        config = config.replace(backend=config.backend or get_backend())
    assert config.backend is not None
    # first: a backend that is not here is refused before anything is written
    with use_backend(config.backend), use_threads(config.threads):
        if progress is not None:
            progress.say(f"backend {describe_backend()}")
        datasets = load_datasets(config) if datasets is None else datasets
        with folder.locked():
            if not resume:
                folder.create(config)  # by the holder of the lock: two runs that begin here at once do not mix
            session = Session(
                config,
                folder,
                datasets,
                progress=progress,
                resume_command=f"levit-ref train --resume {shlex.quote(os.fspath(run_dir))}",
            )
            if resume and config != recorded:
                folder.record_config(config)
            folder.record_session(command)
            return session.run()
