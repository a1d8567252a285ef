"""Looking inside: every number between a picture and a class, by name; change one, and see what happens.

:func:`run_with_activations` keeps values of a pass, :func:`run_with_gradients` gradients, under the same names;
:mod:`levit_ref.inspection.edits` has edits that are ready to use. On top of them are tools. A tool computes from a
record, see :func:`record`; the tools that differentiate or probe take the model. Each returns arrays, of which a
function ``draw_...`` makes a matplotlib figure. No tool leaves a trace on the model.
"""

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.cost import Cost, component_costs, count_macs, count_parameters
from levit_ref.inspection.distance import AttentionDistance, attention_distance
from levit_ref.inspection.drawing import (
    draw_activation_statistics,
    draw_attention_distance,
    draw_attention_maps,
    draw_first_filters,
    draw_importance,
    draw_layer_similarity,
    draw_position_bias,
    draw_receptive_fields,
    draw_rollout,
    draw_saliency,
    filters_as_pictures,
)
from levit_ref.inspection.edits import (
    Overwrite,
    patch,
    switch_off,
    switch_off_bias,
    switch_off_block,
    switch_off_head,
    uniform_attention,
)
from levit_ref.inspection.filters import first_filters
from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.inspection.importance import Importance, Part, importance
from levit_ref.inspection.layers import ATTENTION, AttentionLayer, attention_layers
from levit_ref.inspection.ledger import Ledger, LedgerRow, cost_ledger
from levit_ref.inspection.maps import AttentionMaps, attention_maps
from levit_ref.inspection.position_bias import PositionBias, position_bias_around_query, position_biases
from levit_ref.inspection.receptive import ReceptiveField, receptive_field, stem_receptive_box
from levit_ref.inspection.rollout import Rollout, attention_rollout
from levit_ref.inspection.run import record, run_with_activations
from levit_ref.inspection.saliency import InputGradient, IntegratedGradients, input_gradient, integrated_gradients
from levit_ref.inspection.similarity import AFTER_BLOCKS, LayerSimilarity, layer_similarity, linear_cka
from levit_ref.inspection.statistics import MAIN_PATH, ActivationStatistics, activation_statistics
from levit_ref.nn import TokenGrid

__all__ = [
    "AFTER_BLOCKS",
    "ATTENTION",
    "MAIN_PATH",
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
    "record",
    "run_with_activations",
    "run_with_gradients",
    "stem_receptive_box",
    "switch_off",
    "switch_off_bias",
    "switch_off_block",
    "switch_off_head",
    "uniform_attention",
]
