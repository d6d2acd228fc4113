"""What the commands share: the options that say what is measured."""

from __future__ import annotations

import argparse
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


def make_parser(module: str, doc: str, *, size: str, peers: list[str]) -> argparse.ArgumentParser:
    """A parser with the common options; size and peers are their defaults."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--size", type=image_size, default=size, help=f"WIDTHxHEIGHT of the output ({size})"
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
