"""The command line, `srcnn-fused`: one file a command, and here what they share.

torch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import UserError
from ._messages import PROGRAM, describe, say, show_traceback
from .bench import bench
from .demo import demo
from .doctor import doctor
from .evaluate import evaluate
from .reproduce import reproduce
from .train import train
from .upscale import upscale

__all__ = ["app", "main"]

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
# Of click, which typer depends on or contains: an unknown option and the like.
_UsageError: Any = typer.BadParameter.__base__


class _Group(TyperGroup):
    """Shows what the user can put right, and Ctrl-C, as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _UsageError):
            raise
        except UserError as error:
            say(f"error: {error}")
        except BrokenPipeError:  # `| head` has seen enough
            raise typer.Exit(1) from None
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            say(f"error: {error.strerror or error}{where}")
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            show_traceback(error)
            say(f"error: {describe(error)}")
        raise typer.Exit(1)


class _Command(TyperCommand):
    """Writes a required argument as everyone does, `INPUT...`, not `{INPUT}...`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [
            piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)
        ]


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"note: {message}")


app = typer.Typer(
    name=PROGRAM,
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs are wrapped to the terminal
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("srcnn_fused")
        except PackageNotFoundError:  # run from the source tree
            number = "(not installed)"
        typer.echo(f"{PROGRAM} {number}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """SRCNN super-resolution: bicubic enlargement and three convolutions as one fused operation."""


for _command in (upscale, evaluate, reproduce, train, bench, doctor, demo):
    app.command(cls=_Command)(_command)


def main() -> None:
    """Entry point of `srcnn-fused` and of `python -m srcnn_fused`."""
    try:
        app(prog_name=PROGRAM)
    except KeyboardInterrupt:  # before or after the command proper
        say("interrupted")
        sys.exit(INTERRUPTED)
