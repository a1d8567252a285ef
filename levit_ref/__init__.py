"""LeViT in plain NumPy, forward and backward: a reference implementation to read, to look into, and to train.

>>> import levit_ref
>>> model = levit_ref.create_model("levit_1m_32px", num_classes=10)

Graham et al., "LeViT: a Vision Transformer in ConvNet's Clothing for Faster Inference", ICCV 2021, arXiv 2104.01136.
"""

from levit_ref._version import __version__
from levit_ref.configs import create_model, get_config, list_models
from levit_ref.inspection import run_with_activations, run_with_gradients
from levit_ref.nn import LeViTConfig
from levit_ref.pretrained import list_pretrained, load_pretrained, prepare_images, pretrained_info
from levit_ref.runtime import (
    available_backends,
    backends,
    get_backend,
    num_threads,
    set_backend,
    set_num_threads,
    use_backend,
)

__all__ = [
    "LeViTConfig",
    "__version__",
    "available_backends",
    "backends",
    "create_model",
    "get_backend",
    "get_config",
    "list_models",
    "list_pretrained",
    "load_pretrained",
    "num_threads",
    "prepare_images",
    "pretrained_info",
    "run_with_activations",
    "run_with_gradients",
    "set_backend",
    "set_num_threads",
    "use_backend",
]
