"""Drawing: from the result of a tool to a figure. Matplotlib is imported here alone, when the first figure is made.

Each file draws the results of the module with the same name in :mod:`levit_ref.inspection`, and shares nothing else
with it. :mod:`~levit_ref.inspection.drawing.canvas` has what all figures need.
"""

from levit_ref.inspection.drawing.distance import draw_attention_distance
from levit_ref.inspection.drawing.filters import draw_first_filters, filters_as_pictures
from levit_ref.inspection.drawing.importance import draw_importance
from levit_ref.inspection.drawing.maps import draw_attention_maps
from levit_ref.inspection.drawing.position_bias import draw_position_bias
from levit_ref.inspection.drawing.receptive import draw_receptive_fields
from levit_ref.inspection.drawing.rollout import draw_rollout
from levit_ref.inspection.drawing.saliency import draw_saliency
from levit_ref.inspection.drawing.similarity import draw_layer_similarity
from levit_ref.inspection.drawing.statistics import draw_activation_statistics

__all__ = [
    "draw_activation_statistics",
    "draw_attention_distance",
    "draw_attention_maps",
    "draw_first_filters",
    "draw_importance",
    "draw_layer_similarity",
    "draw_position_bias",
    "draw_receptive_fields",
    "draw_rollout",
    "draw_saliency",
    "filters_as_pictures",
]
