"""What the commands tell their user on stderr, errors above all: one line each."""

from __future__ import annotations

import os
import traceback

import typer

__all__ = ["PROGRAM", "describe", "say", "show_traceback"]

PROGRAM = "srcnn-fused"
_DEBUG = "SRCNN_FUSED_DEBUG"
# RuntimeError is what torch and the kernels raise for reasons outside the program, such as a GPU's
# full memory, and speaks for itself; but not these kinds of it.
_BUGS = (NotImplementedError, RecursionError)


def say(line: str) -> None:
    """One line on stderr, marked as ours."""
    typer.echo(f"{PROGRAM}: {line}", err=True)


def describe(error: Exception) -> str:
    """An exception in one line; where it looks like a bug, with how to see more of it."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    name = type(error).__name__
    line = next((text.strip() for text in str(error).splitlines() if text.strip()), "")
    if line and isinstance(error, RuntimeError) and not isinstance(error, _BUGS):
        return line
    what = f"{name}: {line}" if line else name
    return what if _debugging() else f"{what} (for a bug report, {_DEBUG}=1 shows the traceback)"


def show_traceback(error: Exception) -> None:
    """Print where an exception came from, if the environment asks for it."""
    if _debugging():
        typer.echo("".join(traceback.format_exception(error)).rstrip(), err=True)


def _debugging() -> bool:
    return os.environ.get(_DEBUG, "") not in ("", "0")
