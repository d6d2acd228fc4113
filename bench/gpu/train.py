"""Times a training step of the fused op on a GPU against PyTorch eager and torch.compile.

    python -m bench.gpu.train --budget 100 --json bench/results/NAME.json

A step is forward, mean squared error and backward with the gradients of all weights, in float32
with TF32 off and on, and under autocast in float16 and bfloat16. Every gradient is compared with
float64 before anything is timed. Then contenders take turns, as in bench.gpu; torch.compile comes
last, on the first batch, and what the budget has no time for is skipped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from srcnn_fused.benchmark.cases import NETWORKS

from ..train import parse_batch
from . import report
from .cases import PRECISIONS
from .device import CudaDevice, HostDevice
from .measure import Budget
from .running import Run, exit_status
from .training import COMPILED, CONTENDERS, begin_step, plan

BATCHES = ((16, 256), (16, 33))


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--batch",
        nargs="+",
        type=parse_batch,
        default=list(BATCHES),
        metavar="BATCHxSIDE",
        help="images and their side (default: 16x256 16x33)",
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument(
        "--peers", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--budget", type=float, default=300, metavar="SECONDS", help="for everything (300)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after every case")
    # What the tests use: the whole program, where there is no GPU.
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, got {args.rounds}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA GPU that this PyTorch can use")
    device = CudaDevice() if args.device == "cuda" else HostDevice()
    torch.manual_seed(0)
    contenders = {name: CONTENDERS[name] for name in args.peers if name not in COMPILED}
    compiled = {name: CONTENDERS[name] for name in args.peers if name in COMPILED}
    cases = plan(args.batch, args.network, args.precision)
    first = plan(args.batch[:1], args.network, args.precision)
    running = Run("gpu-training", begin_step, device, Budget(args.budget), args.rounds, args.json)
    result = running.all(cases, contenders, first, compiled, CONTENDERS["fused"], args.precision)
    print(report.training_markdown(result))
    if result["lost"]:
        print(f"bench.gpu.train: {result['lost']}", file=sys.stderr)
    return exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
