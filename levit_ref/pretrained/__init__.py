"""Trained models in the box: small enough to come with the package, so that there is one to look at without a network.

>>> import levit_ref
>>> checkpoint = levit_ref.load_checkpoint("levit_1m_32px-cifar10")
>>> checkpoint.about.class_names[:3]
('airplane', 'automobile', 'bird')

The files are in this folder. Each is called VARIANT-DATASET.
"""

from levit_ref.pretrained.box import DEFAULT, list_pretrained, pretrained_file

__all__ = ["DEFAULT", "list_pretrained", "pretrained_file"]
