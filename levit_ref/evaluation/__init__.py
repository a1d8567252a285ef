"""Using a trained model: classify pictures, evaluate on a dataset, compare with what was published."""

from levit_ref.evaluation.on_dataset import EvalResult, check_classes, evaluate
from levit_ref.evaluation.on_pictures import Prediction, classify, most_probable
from levit_ref.evaluation.subject import NonFiniteLogitsError

__all__ = [
    "EvalResult",
    "NonFiniteLogitsError",
    "Prediction",
    "check_classes",
    "classify",
    "evaluate",
    "most_probable",
]
