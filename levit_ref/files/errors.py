"""The error that all readers of files share."""

from __future__ import annotations


class FileError(ValueError):
    """A file is damaged, or holds something other than expected; the message starts with the path of the file."""
