"""Training: the loop, what it is made of, and the folder that a run leaves behind.

    result = train(TrainConfig(dataset="shapes", epochs=5), "runs/first")

Reading order: ``config`` and ``run``; ``step``, the training step, and what it is made of: ``objective``, ``clipping``,
``optimizer``, ``schedule``, ``ema``, ``distillation``; ``session``, everything around the steps, with ``state``,
``run_folder``, ``metrics``, ``progress``, ``plots``, ``signals``, ``health``; ``parts``, which makes all of it from the
settings.
"""

from levit_ref.settings import ConfigError
from levit_ref.training.config import TrainConfig, read_toml, settings_table
from levit_ref.training.ema import Ema
from levit_ref.training.health import NonFiniteError
from levit_ref.training.optimizer import AdamW
from levit_ref.training.parts import Datasets, load_datasets
from levit_ref.training.progress import Progress
from levit_ref.training.run import train
from levit_ref.training.run_folder import RunFolder
from levit_ref.training.schedule import WarmupCosine
from levit_ref.training.session import Session, TrainResult
from levit_ref.training.step import StepResult, TrainingStep

__all__ = [
    "AdamW",
    "ConfigError",
    "Datasets",
    "Ema",
    "NonFiniteError",
    "Progress",
    "RunFolder",
    "Session",
    "StepResult",
    "TrainConfig",
    "TrainResult",
    "TrainingStep",
    "WarmupCosine",
    "load_datasets",
    "read_toml",
    "settings_table",
    "train",
]
