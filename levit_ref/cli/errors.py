"""What a user did wrong becomes one line on stderr and exit status 2; ``--debug`` shows the traceback as well."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from levit_ref.cli.output import printable

USER_ERROR = 2
"""Exit status: the command line, a file or a setting is wrong."""
INTERRUPTED = 130
"""Exit status by custom of shells: 128 + SIGINT."""
BROKEN_PIPE = 1
"""Exit status when the reader of the output has gone, as rich and click have it too."""

USER_ERRORS = (ValueError, TypeError, OSError, MemoryError)
"""What the package raises where an argument, a file or the machine is not as it must be."""


class CommandError(Exception):
    """The command failed, with an exit status of its own.

    Parameters
    ----------
    text : str
        What to say; nothing if it has been said already.
    status : int
    """

    def __init__(self, text: str = "", status: int = USER_ERROR) -> None:
        super().__init__(text)
        self.text, self.status = text, status


def _remember_debug(context: typer.Context, debug: bool) -> bool:
    if debug:
        context.find_root().ensure_object(dict)["debug"] = True
    return debug


Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_remember_debug, is_eager=True)
]
"""The option ``--debug``, which the command and every sub-command have, so that its place does not matter."""


class OneLineErrors(TyperGroup):
    """A command whose errors are one line each."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process with the right exit status (``standalone_mode=False``: let everything through)."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        settings = {"debug": False}
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, obj=settings, **extra)
            sys.stdout.flush()  # here, so that a closed pipe is noticed where it can still be handled
        except BrokenPipeError:
            _leave_pipe()
        except (KeyboardInterrupt, typer.Abort):
            _fail("interrupted", INTERRUPTED)
        except Exception as error:
            if settings["debug"]:
                traceback.print_exc()
            status = exit_status(error)
            if status is None:
                raise
            _fail(message(error), status)
        sys.exit(status if isinstance(status, int) else 0)


def exit_status(error: Exception) -> int | None:
    """The exit status that an error asks for; None if it is nothing that a user can cause."""
    if isinstance(error, USER_ERRORS):
        return USER_ERROR
    if isinstance(error, CommandError):
        return error.status
    # The parser's own errors. Their class comes from click, or from the copy of it inside of newer typers.
    status = getattr(error, "exit_code", None)
    return status if isinstance(status, int) else None


def message(error: Exception) -> str:
    """What an error says, on one line."""
    if isinstance(error, CommandError):
        return _one_line(error.text)
    if hasattr(error, "format_message"):
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return _one_line(error.format_message()).rstrip(".") + hint
    if isinstance(error, OSError) and error.strerror is not None and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {_one_line(str(error)) or 'try a smaller batch'}"
    return _one_line(str(error)) or type(error).__name__


def complain(text: str) -> None:
    """Print one error line; the command goes on."""
    print(f"levit-ref: error: {text}", file=sys.stderr, flush=True)


def _fail(text: str, status: int) -> NoReturn:
    if text:
        complain(text)
    sys.exit(status)


def _one_line(text: str) -> str:
    return printable("; ".join(line.strip() for line in text.splitlines() if line.strip()).replace(":;", ":"))


def _leave_pipe() -> NoReturn:
    """The reader of our output (``| head``) has gone: nothing to say, and nobody to say it to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush complains
    sys.exit(BROKEN_PIPE)
