"""Names and patterns of names: which values a user means, and an error with the nearest names if there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from levit_ref._suggest import is_pattern, the_nearest


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
        raise ValueError(f"{what}: {says} {pattern!r}; {the_nearest(pattern, known)}")
    return found
