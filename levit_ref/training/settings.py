"""What a single setting may be: its type, its range, its word in TOML."""

from __future__ import annotations

import json
import math
from typing import Any, get_args


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, or out of range; the message names it."""


RANGES: dict[str, tuple[float, float]] = {
    "image_size": (1, math.inf),
    "train_size": (2, math.inf),
    "test_size": (1, math.inf),
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "drop_path": (0, 0.99),
    "warmup_epochs": (0, math.inf),
    "warmup_lr": (0, math.inf),
    "min_lr": (0, math.inf),
    "weight_decay": (0, math.inf),
    "label_smoothing": (0, 1),
    "ema_decay": (0, 1),
    "crop_padding": (0, math.inf),
    "cutout": (0, math.inf),
    "flip": (0, 1),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "saturation": (0, 1),
    "mixup": (0, math.inf),
    "cutmix": (0, math.inf),
    "mix_probability": (0, 1),
    "cutmix_probability": (0, 1),
    "distillation_alpha": (0, 1),
    "seed": (0, math.inf),
    "eval_every": (1, math.inf),
    "checkpoint_every_seconds": (0, math.inf),
    "checkpoint_every_steps": (0, math.inf),
    "threads": (0, math.inf),
    "workers": (0, math.inf),
    "prefetch": (1, math.inf),
}
"""Smallest and largest allowed value of the numeric settings."""

POSITIVE = ("lr", "eps", "clip_value", "temperature")
"""Settings that must be above zero."""

CHOICES: dict[str, tuple[str, ...]] = {
    "backend": ("native", "numpy"),
    "clip_mode": ("agc", "norm", "none"),
    "crop_fill": ("zero", "reflect"),
    "distillation": ("hard", "soft"),
}
"""Allowed values of the settings that are words."""


def check_value(name: str, value: Any) -> None:
    """Raise :class:`ConfigError` if ``value`` is out of the range, or none of the choices, of the setting ``name``."""
    if name in RANGES and value is not None:
        low, high = RANGES[name]
        if not low <= value <= high:
            limits = f"at least {low}" if high == math.inf else f"between {low} and {high}"
            raise ConfigError(f"{name} must be {limits}, got {value}")
    if name in POSITIVE and value <= 0:
        raise ConfigError(f"{name} must be positive, got {value}")
    if name in CHOICES and value is not None and value not in CHOICES[name]:
        raise ConfigError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value!r}")


def typed(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the annotated type: an int may stand for a float and a list for a tuple, nothing else converts."""
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    if value is None and type(None) in options:
        return None
    kind = options[0]
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind == tuple[float, float]:
        if isinstance(value, (tuple, list)) and len(value) == 2:
            return tuple(typed(name, item, float) for item in value)
        raise ConfigError(f"{name} must be two numbers, got {value!r}")
    expected = {float: "a finite number", int: "an integer", bool: "true or false", str: "a string"}[kind]
    raise ConfigError(f"{name} must be {expected}, got {value!r}")


def toml_value(value: Any) -> str:
    """``value`` as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a JSON string is a TOML string
    if isinstance(value, list):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
