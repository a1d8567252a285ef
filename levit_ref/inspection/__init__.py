"""Looking inside: every number between a picture and a class, by name; change one, and see what happens.

The recorder is :func:`run_with_activations`, its twin :func:`run_with_gradients`; :mod:`levit_ref.inspection.edits` has
edits that are ready to use. On top of them stand tools: each is a function that returns arrays and one, ``draw_...``,
that makes a matplotlib figure of what it returned. Tools run the model in evaluation mode and leave it as it was.
"""

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.cost import Cost, component_costs, count_macs, count_parameters
from levit_ref.inspection.distance import AttentionDistance, attention_distance, draw_attention_distance
from levit_ref.inspection.edits import (
    Overwrite,
    patch,
    switch_off,
    switch_off_bias,
    switch_off_block,
    switch_off_head,
    uniform_attention,
)
from levit_ref.inspection.filters import draw_first_filters, filters_as_pictures, first_filters
from levit_ref.inspection.geometry import AttentionLayer, attention_layers, stage_grid, stem_grid
from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.inspection.importance import Importance, Part, draw_importance, importance
from levit_ref.inspection.ledger import Ledger, LedgerRow, cost_ledger
from levit_ref.inspection.maps import AttentionMaps, attention_maps, draw_attention_maps
from levit_ref.inspection.position_bias import (
    PositionBias,
    draw_position_bias,
    position_bias_around_query,
    position_biases,
)
from levit_ref.inspection.receptive import (
    ReceptiveField,
    draw_receptive_fields,
    receptive_field,
    stem_receptive_box,
)
from levit_ref.inspection.rollout import Rollout, attention_rollout, draw_rollout
from levit_ref.inspection.run import run_with_activations
from levit_ref.inspection.saliency import (
    InputGradient,
    IntegratedGradients,
    draw_saliency,
    input_gradient,
    integrated_gradients,
)
from levit_ref.inspection.similarity import LayerSimilarity, draw_layer_similarity, layer_similarity, linear_cka
from levit_ref.inspection.statistics import (
    ActivationStatistics,
    activation_statistics,
    draw_activation_statistics,
)
from levit_ref.nn import TokenGrid

__all__ = [
    "ActivationStatistics",
    "Activations",
    "AttentionDistance",
    "AttentionLayer",
    "AttentionMaps",
    "Cost",
    "Importance",
    "InputGradient",
    "IntegratedGradients",
    "LayerSimilarity",
    "Ledger",
    "LedgerRow",
    "Overwrite",
    "Part",
    "PositionBias",
    "ReceptiveField",
    "Rollout",
    "TokenGrid",
    "activation_statistics",
    "attention_distance",
    "attention_layers",
    "attention_maps",
    "attention_rollout",
    "component_costs",
    "cost_ledger",
    "count_macs",
    "count_parameters",
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
    "first_filters",
    "importance",
    "input_gradient",
    "integrated_gradients",
    "layer_similarity",
    "linear_cka",
    "patch",
    "position_bias_around_query",
    "position_biases",
    "receptive_field",
    "run_with_activations",
    "run_with_gradients",
    "stage_grid",
    "stem_grid",
    "stem_receptive_box",
    "switch_off",
    "switch_off_bias",
    "switch_off_block",
    "switch_off_head",
    "uniform_attention",
]
