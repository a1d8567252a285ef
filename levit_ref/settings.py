"""A setting declared once: type, default, range, help, and whether it influences the result stand beside the field.

A class of settings is a frozen dataclass whose fields are made by :func:`setting`::

    @dataclass(frozen=True)
    class Schedule:
        epochs: int = setting(10, "Passes over the pictures.", panel="Optimisation", minimum=1)

TOML files, the command line, the documentation and the check of a resumed run read the declaration; nothing about a
setting is written anywhere else.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, or out of range; the message names it."""


class _Unset:
    """Stands for a setting that nobody gave."""

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Any = _Unset()
"""The value of a setting that was not given, until the default takes its place."""


@dataclass(frozen=True)
class Declaration:
    """All there is to know about a setting, besides its name and type.

    Attributes
    ----------
    default : value
    help : str
        A sentence.
    panel : str
        The heading under which help texts list it.
    not_given : str
        What happens if there is neither a value nor a default (the default is None).
    minimum, maximum : float or None
        Smallest and largest allowed value.
    positive : bool
        Whether it must be above zero.
    choices : tuple of str
        The allowed words, if it is a word.
    influences_result : bool
        False if a run may be resumed with another value: at most the rounding of results depends on it.
    """

    default: Any
    help: str
    panel: str
    not_given: str = ""
    minimum: float | None = None
    maximum: float | None = None
    positive: bool = False
    choices: tuple[str, ...] = ()
    influences_result: bool = True

    @property
    def limits(self) -> str:
        """The range in words; empty if there is none."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.positive:
            return "positive"
        if self.minimum is not None and self.maximum is not None:
            return f"between {self.minimum:g} and {self.maximum:g}"
        return "" if self.minimum is None else f"at least {self.minimum:g}"

    def check(self, name: str, value: Any) -> None:
        """Raise :class:`ConfigError` if ``value`` is out of the range of the setting ``name``."""
        if value is None:
            return
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if self.choices and value not in self.choices:
            raise ConfigError(f"{name} must be {self.limits}; got {value!r}")
        if (self.positive and value <= 0) or (not self.choices and low > -math.inf and not low <= value <= high):
            raise ConfigError(f"{name} must be {self.limits}, got {value}")


def setting(default: Any, help: str, *, panel: str, **more: Any) -> Any:
    """A field of a class of settings.

    Parameters
    ----------
    default : value
    help : str
        A sentence for help texts and documentation.
    panel : str
        The heading under which they list it.
    **more
        Fields of :class:`Declaration`.
    """
    return dataclasses.field(default=UNSET, metadata={"setting": Declaration(default, help, panel, **more)})


def declarations(settings: type | object) -> dict[str, Declaration]:
    """The declaration of every setting of a class, in order."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(settings)  # type: ignore[arg-type]
    return {field.name: field.metadata["setting"] for field in fields}


def fill_in(settings: Any, defaults: Mapping[str, Any]) -> None:
    """Give every unset field of a frozen instance its value, the stronger ``defaults`` first, and check them all."""
    hints = get_type_hints(type(settings))
    for name, declared in declarations(settings).items():
        value = getattr(settings, name)
        if value is UNSET:
            value = defaults.get(name, declared.default)
        value = typed(name, value, hints[name])
        declared.check(name, value)
        object.__setattr__(settings, name, value)


def without_none(hint: Any) -> Any:
    """``int`` for ``int | None``, and any other type as it is."""
    options = [option for option in get_args(hint) if option is not type(None)]
    return options[0] if type(None) in get_args(hint) else hint


def typed(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the annotated type: an int may stand for a float and a list for a tuple, nothing else converts."""
    if value is None and type(None) in get_args(hint):
        return None
    kind = without_none(hint)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind == tuple[float, float]:
        if isinstance(value, tuple | list) and len(value) == 2:
            return tuple(typed(name, item, float) for item in value)
        raise ConfigError(f"{name} must be two numbers, got {value!r}")
    expected = {float: "a finite number", int: "an integer", bool: "true or false", str: "a string"}[kind]
    raise ConfigError(f"{name} must be {expected}, got {value!r}")


def text_of(value: Any) -> str:
    """A value as help texts and documentation show it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    values = value if isinstance(value, tuple) else (value,)
    return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in values)


def toml_value(value: Any) -> str:
    """``value`` as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a JSON string is a TOML string
    if isinstance(value, list):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
