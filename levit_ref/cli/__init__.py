"""The command ``levit-ref``: train, eval, predict, summary.

Each sub-command has a file: it parses, calls one function of the package, and prints.
"""

from levit_ref.cli.app import app, main

__all__ = ["app", "main"]
