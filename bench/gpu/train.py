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

import torch

from ..train import parse_batch
from . import command, report
from .measure import Budget
from .running import Run
from .training import COMPILED, CONTENDERS, begin_step, forced, plan

BATCHES = ((16, 256), (16, 33))


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = command.make_parser("bench.gpu.train", __doc__)
    parser.add_argument(
        "--batch",
        nargs="+",
        type=parse_batch,
        default=list(BATCHES),
        metavar="BATCHxSIDE",
        help="images and their side (default: 16x256 16x33)",
    )
    parser.add_argument(
        "--kernels",
        nargs="+",
        default=[],
        metavar="NAME",
        help="also the fused op with SRCNN_FUSED_CUDA_KERNEL at each of these (fma, mma)",
    )
    command.add_options(parser, CONTENDERS, budget=300)
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    device = command.checked_device(parser, args)
    torch.manual_seed(0)
    contenders = {name: CONTENDERS[name] for name in args.peers if name not in COMPILED}
    contenders |= {f"fused:{name}": forced(name) for name in args.kernels}
    compiled = {name: CONTENDERS[name] for name in args.peers if name in COMPILED}
    cases = plan(args.batch, args.network, args.precision)
    first = plan(args.batch[:1], args.network, args.precision)
    running = Run("gpu-training", begin_step, device, Budget(args.budget), args.rounds, args.json)
    result = running.all(cases, contenders, first, compiled, CONTENDERS["fused"], args.precision)
    return command.conclude("bench.gpu.train", result, report.training_markdown(result))


if __name__ == "__main__":
    sys.exit(main())
