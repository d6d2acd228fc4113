"""PyAV, imported when a video is met and not before: pictures do without."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import UserError

__all__ = [
    "ffmpeg_messages",
    "fraction",
    "import_av",
    "open_container",
    "reading",
    "reason_of",
    "side_data",
]

_HOW = "videos need PyAV: pip install 'srcnn_fused[video]'"


def import_av() -> Any:
    """The package ``av``.

    Raises:
        ImportError: it is missing, or older than 17.1; the message says how to install it.
    """
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise ImportError(f"{_HOW} ({error})") from None
    if _version(av) < (17, 1):
        raise ImportError(f"{_HOW} (17.1 or newer; this is {av.__version__})")
    # SVT-AV1 writes a page about itself to stderr, whatever FFmpeg's log level; 1 is errors only.
    os.environ.setdefault("SVT_LOG", "1")
    return av


def _version(av: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", av.__version__)[:2])


def open_container(path: Path, mode: str, **options: Any) -> Any:
    """av.open, where metadata that are no UTF-8 pass through as the bytes they are."""
    av = import_av()
    if _version(av) < (19, 0):  # from there on it is always so
        options["metadata_errors"] = "surrogateescape"
    # "file:" keeps names with a colon from being taken for an address.
    return av.open(f"file:{path}", mode, **options)


def side_data(frame: Any, context: Any) -> dict[str, bytes]:
    """What a decoded frame carries beside its samples, by FFmpeg's names.

    From version 19 on, what holds for the whole stream may lie with the decoder instead.
    """
    whole = getattr(context, "decoded_side_data", {})
    found = {kind.name: bytes(data) for kind, data in whole.items()}
    try:
        everything = [frame.side_data[index] for index in range(len(frame.side_data))]
        found.update({side.type.name: bytes(side) for side in everything})
    except ValueError:  # a kind that a PyAV before 19 does not know
        pass
    return found


def fraction(value: Any) -> Fraction | None:
    """A rational of PyAV, whose type changed with version 19; None for one that is not set."""
    if not value or not value.denominator:
        return None
    return Fraction(int(value.numerator), int(value.denominator))


def reason_of(error: BaseException) -> str:
    """What FFmpeg says about a failure, in a few words."""
    log = getattr(error, "log", None)
    text = log[2] if log else getattr(error, "strerror", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what FFmpeg and the system raise about an input into one line that names it."""
    av = import_av()
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a video file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {reason_of(error)}") from error


@contextlib.contextmanager
def ffmpeg_messages() -> Iterator[None]:
    """Has errors of PyAV raised in here carry FFmpeg's message.

    Not for the time that threads of FFmpeg's run: each message takes Python's lock.
    """
    av = import_av()
    before = av.logging.get_level()
    quiet = logging.NullHandler()  # or Python would print what other threads say meanwhile
    logging.getLogger("libav").addHandler(quiet)
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture():
            yield
    finally:
        av.logging.set_level(before)
        logging.getLogger("libav").removeHandler(quiet)
