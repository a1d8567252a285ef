"""Names and patterns of names: which values a user means, and what to say when it is none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase


def select(patterns: str | Iterable[str], known: Sequence[str], *, what: str = "names") -> list[str]:
    """The known names that one of the patterns matches, in the order of ``known``.

    Parameters
    ----------
    patterns : str or iterable of str
        Names, or patterns in which ``*`` stands for any text, dots included, and ``?`` for one character.
    known : sequence of str
    what : str
        Starts the error message.

    Raises
    ------
    ValueError
        If a pattern matches nothing; the message has the nearest names.
    """
    wanted: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        wanted.update(matches(pattern, known, what=what))
    return [name for name in known if name in wanted]


def matches(pattern: str, known: Sequence[str], *, what: str) -> list[str]:
    """The known names that ``pattern`` matches: at least one, or a ValueError with the nearest."""
    if not isinstance(pattern, str):
        raise TypeError(f"{what}: expected a name or a pattern, got {pattern!r}")
    found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        says = "nothing matches the pattern" if is_pattern(pattern) else "there is no value"
        raise ValueError(f"{what}: {says} {pattern!r}; {nearest(pattern, known)}")
    return found


def is_pattern(text: str) -> bool:
    """Whether ``text`` may stand for several names."""
    return any(character in text for character in "*?[")


def nearest(wrong: str, known: Collection[str]) -> str:
    """The names most like a wrong one, in words; for a pattern, the patterns most like it."""
    candidates = list(known)
    if is_pattern(wrong):  # all blocks of the network read alike then
        candidates = list(dict.fromkeys(re.sub(r"\b\d+\b", "*", name) for name in candidates))
    return f"the nearest are {', '.join(difflib.get_close_matches(wrong, candidates, n=3, cutoff=0))}"
