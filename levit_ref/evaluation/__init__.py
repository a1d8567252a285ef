"""How good a model is: evaluation on a dataset, and what was published about the variants."""

from levit_ref.evaluation.evaluate import EvalResult, evaluate

__all__ = ["EvalResult", "evaluate"]
