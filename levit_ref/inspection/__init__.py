"""Looking inside: every number between a picture and a class, by name; change one, and see what happens."""

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.edits import (
    Overwrite,
    patch,
    switch_off,
    switch_off_bias,
    switch_off_block,
    switch_off_head,
    uniform_attention,
)
from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.inspection.run import run_with_activations

__all__ = [
    "Activations",
    "Overwrite",
    "patch",
    "run_with_activations",
    "run_with_gradients",
    "switch_off",
    "switch_off_bias",
    "switch_off_block",
    "switch_off_head",
    "uniform_attention",
]
