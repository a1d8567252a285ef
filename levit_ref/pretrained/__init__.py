"""Trained models in the box: small enough to come with the package, so that there is one to look at without a network.

>>> import levit_ref
>>> model = levit_ref.load_pretrained("levit_1m_32px-cifar10")
>>> about = levit_ref.pretrained_info("levit_1m_32px-cifar10")
>>> about.class_names[:3]
('airplane', 'automobile', 'bird')

The files lie in this folder; ``docs/make_pretrained.py`` makes them from finished runs.
"""

from levit_ref.pretrained.images import prepare_images
from levit_ref.pretrained.models import DEFAULT, list_pretrained, load_pretrained, pretrained_info

__all__ = ["DEFAULT", "list_pretrained", "load_pretrained", "prepare_images", "pretrained_info"]
