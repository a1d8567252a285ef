"""LeViT in plain NumPy, forward and backward: a reference implementation to read, to look into, and to train.

>>> import levit_ref
>>> model = levit_ref.create_model("levit_1m_32px", num_classes=10)

Graham et al., "LeViT: a Vision Transformer in ConvNet's Clothing for Faster Inference", ICCV 2021, arXiv 2104.01136.
"""

import importlib
from typing import TYPE_CHECKING, Any

from levit_ref._version import __version__
from levit_ref.configs import create_model, get_config, list_models
from levit_ref.nn import LeViT, LeViTConfig
from levit_ref.pretrained import list_pretrained
from levit_ref.runtime import (
    available_backends,
    backends,
    get_backend,
    num_threads,
    set_backend,
    set_num_threads,
    use_backend,
)

if TYPE_CHECKING:
    from levit_ref.checkpoints import (
        About,
        Checkpoint,
        load_checkpoint,
        load_pretrained,
        read_about,
        save_checkpoint,
    )
    from levit_ref.evaluation import EvalResult, Prediction, classify, evaluate
    from levit_ref.inspection import run_with_activations, run_with_gradients
    from levit_ref.preprocessing import Preprocessing, prepare_images
    from levit_ref.training import TrainConfig, train

_LATER = {
    "About": "levit_ref.checkpoints",
    "Checkpoint": "levit_ref.checkpoints",
    "EvalResult": "levit_ref.evaluation",
    "Prediction": "levit_ref.evaluation",
    "Preprocessing": "levit_ref.preprocessing",
    "TrainConfig": "levit_ref.training",
    "classify": "levit_ref.evaluation",
    "evaluate": "levit_ref.evaluation",
    "load_checkpoint": "levit_ref.checkpoints",
    "load_pretrained": "levit_ref.checkpoints",
    "prepare_images": "levit_ref.preprocessing",
    "read_about": "levit_ref.checkpoints",
    "run_with_activations": "levit_ref.inspection",
    "run_with_gradients": "levit_ref.inspection",
    "save_checkpoint": "levit_ref.checkpoints",
    "train": "levit_ref.training",
}
"""Where names come from that are imported when they are first used: ``import levit_ref`` need not wait for them."""

__all__ = [
    "About",
    "Checkpoint",
    "EvalResult",
    "LeViT",
    "LeViTConfig",
    "Prediction",
    "Preprocessing",
    "TrainConfig",
    "__version__",
    "available_backends",
    "backends",
    "classify",
    "create_model",
    "evaluate",
    "get_backend",
    "get_config",
    "list_models",
    "list_pretrained",
    "load_checkpoint",
    "load_pretrained",
    "num_threads",
    "prepare_images",
    "read_about",
    "run_with_activations",
    "run_with_gradients",
    "save_checkpoint",
    "set_backend",
    "set_num_threads",
    "train",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
