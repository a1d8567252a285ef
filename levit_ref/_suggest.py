"""What somebody probably meant: known names that look like a wrong one, for error messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

CUTOFF = 0.6
"""How alike two names have to be, from 0 to 1, for :func:`did_you_mean`; :func:`the_nearest` takes any."""


def nearest(wrong: str, known: Iterable[str], *, n: int = 3, cutoff: float = CUTOFF) -> list[str]:
    """At most ``n`` known names that look like ``wrong``, the most similar first.

    ``wrong`` may be a pattern with ``*``, ``?`` or ``[``. Then the result holds patterns, too: numbers between dots are
    replaced by ``*``, since all blocks of a network have the same names.
    """
    candidates = list(known)
    if is_pattern(wrong):
        candidates = list(dict.fromkeys(re.sub(r"\b\d+\b", "*", name) for name in candidates))
    return difflib.get_close_matches(wrong, candidates, n=n, cutoff=cutoff)


def did_you_mean(wrong: object, known: Iterable[str], *, n: int = 3, cutoff: float = CUTOFF) -> str:
    """The end of an error message: ``"; did you mean a or b?"``, or nothing where no known name is similar enough.

    >>> did_you_mean("cifar", ["shapes", "cifar10", "cifar100"])
    '; did you mean cifar10 or cifar100?'
    """
    found = nearest(str(wrong), known, n=n, cutoff=cutoff)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def the_nearest(wrong: object, known: Iterable[str], *, n: int = 3) -> str:
    """The same as a clause that is never empty: ``"the nearest are a, b, c"``."""
    return f"the nearest are {', '.join(nearest(str(wrong), known, n=n, cutoff=0))}"


def is_pattern(text: str) -> bool:
    """Whether ``text`` may stand for several names."""
    return any(character in text for character in "*?[")
