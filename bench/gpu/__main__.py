"""Times the fused op on a GPU against PyTorch eager, CUDA graphs and torch.compile.

    python -m bench.gpu --budget 200 --json bench/results/NAME.json

Every output is compared with float64 before anything is timed. Then contenders take turns, in a new
order each round; inputs rotate through more memory than the L2 cache has. The most telling cases
come first, torch.compile last (on the first shape), and what the budget has no time for is skipped.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from . import command, report
from .cases import GpuCase, parse_shape, plan
from .device import Device
from .measure import Budget, begin_forward
from .peers import COMPILED, CONTENDERS, forced
from .running import Run

SHAPES = ("1920x1080", "1920x1080/3", "512x512", "64x256x256", "3840x2160")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = command.make_parser("bench.gpu", __doc__)
    parser.add_argument(
        "--shape",
        nargs="+",
        type=parse_shape,
        metavar="[Nx]WxH[/SCALE]",
        default=[parse_shape(text) for text in SHAPES],
        help=f"of the output, and how many times smaller the input is ({' '.join(SHAPES)})",
    )
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument(
        "--kernels",
        nargs="+",
        default=[],
        metavar="NAME",
        help="also the fused op with SRCNN_FUSED_CUDA_KERNEL at each of these (fma, mma, ...)",
    )
    command.add_options(parser, CONTENDERS, budget=600)
    return parser


def run(args: argparse.Namespace, cases: list[GpuCase], device: Device) -> dict[str, Any]:
    """Measures all cases; returns what the JSON file holds, whatever became of the device."""
    budget = Budget(args.budget)
    torch.manual_seed(0)
    contenders = {name: CONTENDERS[name] for name in args.peers if name not in COMPILED}
    contenders |= {f"fused:{name}": forced(name) for name in args.kernels}
    compiled = {name: CONTENDERS[name] for name in COMPILED if name in args.peers}
    running = Run("gpu-inference", begin_forward, device, budget, args.rounds, args.json)
    first = [case for case in cases if case.shape == args.shape[0]]
    return running.all(cases, contenders, first, compiled, CONTENDERS["fused"], args.precision)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    device = command.checked_device(parser, args)
    try:
        cases = plan(args.shape, args.network, args.precision, args.channels)
    except ValueError as error:
        parser.error(str(error))
    result = run(args, cases, device)
    return command.conclude("bench.gpu", result, report.markdown(result))


if __name__ == "__main__":
    sys.exit(main())
