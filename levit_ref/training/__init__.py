"""Training: the loop, what it is made of, and the folder that a run leaves behind.

    result = train(TrainConfig.resolve({"dataset": "shapes", "epochs": 5}), "runs/first")

Reading order: ``config`` and ``run``, then ``trainer`` (the loop), then what it is made of: ``parts``,
``objective``, ``clipping``, ``optimizer``, ``schedule``, ``ema``, ``distillation``, ``evaluate``; and around it
``state``, ``run_folder``, ``metrics``, ``progress``, ``plots``, ``signals``, ``health``.
"""

from levit_ref.training.config import TrainConfig, dataset_defaults, read_toml
from levit_ref.training.ema import Ema
from levit_ref.training.health import NonFiniteError
from levit_ref.training.optimizer import AdamW
from levit_ref.training.parts import Datasets, load_datasets
from levit_ref.training.progress import Progress
from levit_ref.training.run import train
from levit_ref.training.run_folder import RunFolder
from levit_ref.training.schedule import WarmupCosine
from levit_ref.training.settings import ConfigError
from levit_ref.training.trainer import Trainer, TrainResult

__all__ = [
    "AdamW",
    "ConfigError",
    "Datasets",
    "Ema",
    "NonFiniteError",
    "Progress",
    "RunFolder",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "WarmupCosine",
    "dataset_defaults",
    "load_datasets",
    "read_toml",
    "train",
]
