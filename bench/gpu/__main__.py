"""Times the fused op on a GPU against PyTorch eager, CUDA graphs and torch.compile.

    python -m bench.gpu --budget 200 --json bench/results/NAME.json

Every output is compared with float64 before anything is timed. Then contenders take turns, in a new
order each round; inputs rotate through more memory than the L2 cache has. The most telling cases
come first, torch.compile last (on the first shape), and what the budget has no time for is skipped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from srcnn_fused.benchmark.cases import NETWORKS

from . import report
from .cases import PRECISIONS, GpuCase, parse_shape, plan
from .device import CudaDevice, Device, HostDevice
from .measure import Budget, begin_forward
from .peers import COMPILED, CONTENDERS, forced
from .running import Run, exit_status

SHAPES = ("1920x1080", "1920x1080/3", "512x512", "64x256x256", "3840x2160")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shape",
        nargs="+",
        type=parse_shape,
        metavar="[Nx]WxH[/SCALE]",
        default=[parse_shape(text) for text in SHAPES],
        help=f"of the output, and how many times smaller the input is ({' '.join(SHAPES)})",
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"some of {', '.join(CONTENDERS)} (default: all)",
    )
    parser.add_argument(
        "--kernels",
        nargs="+",
        default=[],
        metavar="NAME",
        help="also the fused op with SRCNN_FUSED_CUDA_KERNEL at each of these (fma, mma, ...)",
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--budget", type=float, default=600, metavar="SECONDS", help="for everything (600)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after every case")
    # What the tests use: the whole program, where there is no GPU.
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)
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
    if args.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, got {args.rounds}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA GPU that this PyTorch can use")
    try:
        cases = plan(args.shape, args.network, args.precision, args.channels)
    except ValueError as error:
        parser.error(str(error))
    result = run(args, cases, CudaDevice() if args.device == "cuda" else HostDevice())
    print(report.markdown(result))
    if result["lost"]:
        print(f"bench.gpu: {result['lost']}", file=sys.stderr)
    return exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
