"""What the commands share: the options that say what is measured."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from srcnn_fused.benchmark.cases import NETWORKS, Case, parse_size
from srcnn_fused.benchmark.peers import CONTENDERS


def image_size(text: str) -> tuple[int, int]:
    """parse_size for argparse."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def batch_shape(text: str) -> tuple[int, int, int]:
    """ "256x64x64" -> (256, 64, 64), "640x360" -> (1, 640, 360): batch first; for argparse."""
    parts = text.split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"must be [BATCHx]WIDTHxHEIGHT, such as 256x64x64, got {text!r}"
        )
    batch, width, height = [int(part) for part in (["1", *parts])[-3:]]
    return batch, width, height


def make_parser(module: str, doc: str | None, *, peers: list[str]) -> argparse.ArgumentParser:
    """A parser with the options that all comparisons have; peers are the default ones."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=["9-1-5"])
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument("--scale", type=int, help="low-resolution input, enlarged by this")
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


def add_sizes(parser: argparse.ArgumentParser, default: str) -> None:
    """--size, one or more."""
    parser.add_argument(
        "--size",
        nargs="+",
        type=image_size,
        default=[parse_size(default)],
        help=f"WIDTHxHEIGHT of the output ({default})",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """--threads, one number."""
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="default: PyTorch's own choice"
    )


def check_positive(parser: argparse.ArgumentParser, **options: Sequence[int]) -> None:
    """Ends the program with one line where an option has a value below 1."""
    for name, values in options.items():
        if min(values) < 1:
            parser.error(f"argument --{name}: must be at least 1, got {min(values)}")


def cases_from(args: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Case]:
    """The cases that the options describe; bad ones end the program with one line."""
    try:
        return [
            Case(name, width, height, args.channels, args.scale)
            for width, height in args.size
            for name in args.network
        ]
    except ValueError as error:
        parser.error(str(error))
