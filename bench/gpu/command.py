"""What the command lines of bench.gpu and bench.gpu.train have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from srcnn_fused.benchmark.cases import NETWORKS

from .cases import PRECISIONS
from .device import CudaDevice, Device, HostDevice


def make_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that prints the module's docstring as it is."""
    return argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_options(parser: argparse.ArgumentParser, peers: Iterable[str], budget: int) -> None:
    """Networks, precisions, contenders, rounds, seconds and the result's file."""
    names = list(peers)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"some of {', '.join(names)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--budget",
        type=float,
        default=budget,
        metavar="SECONDS",
        help=f"for everything ({budget})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after every case")
    # What the tests use: the whole program, where there is no GPU.
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)


def checked_device(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Device:
    """Where to run; ends the program with a message if that or the rounds cannot be."""
    if args.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, got {args.rounds}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA GPU that this PyTorch can use")
    return CudaDevice() if args.device == "cuda" else HostDevice()


def conclude(program: str, result: dict[str, Any], table: str) -> int:
    """Prints the table, and why the run ended early; returns the exit status.

    That is 1 if the fused op was wrong or failed, or the GPU was lost. What ails a peer is in the
    result and no fault of ours; nor is a kernel, forced by name, that refuses the precision.
    """
    print(table)
    if result["lost"]:
        print(f"{program}: {result['lost']}", file=sys.stderr)
        return 1
    for case in result["cases"]:
        for entry in case["contenders"]:
            name, status = entry["name"], entry["status"]
            if name.startswith("fused") and status == "wrong":
                return 1
            if name in ("fused", "fused_graph") and status not in ("ok", "skipped"):
                return 1
    return 0
