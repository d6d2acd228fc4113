"""What the commands share: the options that say what is measured, and the files of results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from srcnn_fused._files import replacing

from . import machine
from .cases import NETWORKS, Case, WrongOutput
from .peers import CONTENDERS, Unavailable

SCHEMA = 1


def parse_size(text: str) -> tuple[int, int]:
    """ "960x540" -> (960, 540), width first; for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT, such as 960x540, got {text!r}")
    return int(width), int(height)


def make_parser(module: str, doc: str, *, size: str, peers: list[str]) -> argparse.ArgumentParser:
    """A parser with the common options; size and peers are their defaults."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--size", type=parse_size, default=size, help=f"WIDTHxHEIGHT of the output ({size})"
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=["9-1-5"])
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument("--scale", type=int, help="low-resolution input, enlarged by this")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="default: PyTorch's own choice"
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=CONTENDERS,
        default=peers,
        metavar="NAME",
        help=f"some of {', '.join(CONTENDERS)} (default: {', '.join(peers)})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def cases_from(args: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Case]:
    """The cases that the options describe; bad ones end the program with one line."""
    if args.threads < 1:
        parser.error(f"argument --threads: must be at least 1, got {args.threads}")
    width, height = args.size
    try:
        return [Case(name, width, height, args.channels, args.scale) for name in args.network]
    except ValueError as error:
        parser.error(str(error))


def new_result(kind: str, **settings: Any) -> dict[str, Any]:
    """The head of a result; its cases are still to come."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "machine": machine.describe(),
        "settings": settings,
        "cases": [],
    }


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Writes a result file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")


def attempt(name: str, check: Callable[[str], float]) -> dict[str, Any]:
    """One contender's entry as in the JSON: its largest error, by check(name), or why none."""
    try:
        return {"name": name, "status": "ok", "max_error": check(name)}
    except Unavailable as error:
        status, reason = "skipped", str(error)
    except WrongOutput as error:
        status, reason = "wrong", str(error)
    except Exception as error:  # a peer that breaks here must not hide the others
        status, reason = "failed", first_line(error)
    return {"name": name, "status": status, "reason": reason}


def exit_status(result: dict[str, Any]) -> int:
    """1 if a contender gave wrong output or failed; one that is not installed is no failure."""
    statuses = {entry["status"] for case in result["cases"] for entry in case["contenders"]}
    return int(bool(statuses & {"wrong", "failed"}))


def first_line(error: BaseException) -> str:
    """An exception as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
