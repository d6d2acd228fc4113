"""Times the fused op on a GPU against PyTorch eager, CUDA graphs and torch.compile.

    python -m bench.gpu --budget 200 --json bench/results/NAME.json

Every output is compared with float64 before anything is timed. Then contenders take turns, in a new
order each round; inputs rotate through more memory than the L2 cache has. The most telling cases
come first, torch.compile last (on the first shape), and what the budget has no time for is skipped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from srcnn_fused.benchmark import results
from srcnn_fused.benchmark.cases import NETWORKS

from . import report
from .cases import PRECISIONS, GpuCase, parse_shape, plan
from .device import CudaDevice, Device, HostDevice, measure_ceilings
from .measure import Budget, DeviceLost, measure, skipped
from .peers import COMPILED, CONTENDERS, Contender, forced, forget_compiled

SHAPES = ("1920x1080", "1920x1080/3", "512x512", "64x256x256", "3840x2160")

# Of the budget, what is kept for torch.compile.
_COMPILE_SHARE = 0.4


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


class Run:
    """One run: what it is to measure with, and its result as far as it has come."""

    def __init__(self, device: Device, budget: Budget, rounds: int, json: Path | None) -> None:
        self.device = device
        self.budget = budget
        self.rounds = rounds
        self.json = json
        self.result = results.new_result(
            "gpu-inference", rounds=rounds, budget_s=budget.seconds, compile_share=_COMPILE_SHARE
        )
        self.result["machine"]["gpu"] = device.describe()
        self.result["ceilings"] = {}
        self.result["lost"] = None  # why the run ended early

    def save(self) -> None:
        """Writes the result as it is now."""
        self.result["machine"]["load_average_after"] = list(os.getloadavg())
        if self.json:
            results.write_json(self.json, self.result)

    def measure_ceilings(self, precisions: list[str]) -> None:
        """Must come first."""
        self.result["ceilings"] = ceilings = measure_ceilings(self.device, precisions)
        self._say(
            ", ".join(
                f"{name} {rate:.0f} TFLOP/s" for name, rate in ceilings["matmul_tflops"].items()
            )
            + f", copy {ceilings['copy_gb_per_s']:.0f} GB/s"
        )
        self.save()

    def measure(
        self, cases: Iterable[GpuCase], contenders: dict[str, Contender], reserve: float
    ) -> None:
        """Every case in turn, as long as there is time beyond the reserve."""
        for case in cases:
            kind = case.case.network
            if not self.budget.allows(kind, 5.0, reserve):
                self.result["cases"].append(skipped(case, contenders))
                continue
            entry = self._measure(case, contenders, reserve)
            self.budget.note(kind, entry["seconds"])
            self.result["cases"].append(entry)
            self._report(case, entry["contenders"])

    def compile(self, cases: Iterable[GpuCase], compiled: dict[str, Contender]) -> None:
        """torch.compile on each case, with the fused op taking turns; adds to the case's entry."""
        for case in cases:
            forget_compiled()
            entry = self._measure(case, {"fused": CONTENDERS["fused"], **compiled}, 0.0)
            described = case.describe()
            for earlier in self.result["cases"]:
                if {key: earlier[key] for key in described} == described:
                    earlier["contenders"] += entry["contenders"][1:]
            self._report(case, entry["contenders"][1:])

    def _measure(
        self, case: GpuCase, contenders: dict[str, Contender], reserve: float
    ) -> dict[str, Any]:
        try:
            return measure(
                case,
                contenders,
                self.device,
                self.result["ceilings"],
                self.budget,
                rounds=self.rounds,
                reserve=reserve,
            )
        except DeviceLost as error:
            self.result["cases"].append(error.case)
            raise

    def _report(self, case: GpuCase, entries: list[dict[str, Any]]) -> None:
        self.save()
        self._say(f"{case.title}: " + ", ".join(map(report.one_entry, entries)))

    def _say(self, line: str) -> None:
        print(f"[{self.budget.spent:4.0f} s] {line}", flush=True)


def run(args: argparse.Namespace, cases: list[GpuCase], device: Device) -> dict[str, Any]:
    """Measures all cases; returns what the JSON file holds, whatever became of the device."""
    budget = Budget(args.budget)
    torch.manual_seed(0)
    contenders = {name: CONTENDERS[name] for name in args.peers if name not in COMPILED}
    contenders |= {f"fused:{name}": forced(name) for name in args.kernels}
    compiled = {name: CONTENDERS[name] for name in COMPILED if name in args.peers}
    running = Run(device, budget, args.rounds, args.json)
    try:
        running.measure_ceilings(args.precision)
        running.measure(cases, contenders, _COMPILE_SHARE * args.budget if compiled else 0.0)
        if compiled:
            first = args.shape[0]
            running.compile(
                [case for case in cases if case.shape == first],
                compiled,
            )
    except DeviceLost as error:
        running.result["lost"] = str(error)
    running.result["settings"]["seconds"] = budget.spent
    running.save()
    return running.result


def exit_status(result: dict[str, Any]) -> int:
    """1 if the fused op was wrong or failed, or the GPU was lost.

    What ails a peer is in the result and no fault of ours; nor is a kernel, forced by name, that
    refuses the precision.
    """
    for case in result["cases"]:
        for entry in case["contenders"]:
            name, status = entry["name"], entry["status"]
            if name.startswith("fused") and status == "wrong":
                return 1
            if name in ("fused", "fused_graph") and status not in ("ok", "skipped"):
                return 1
    return int(result["lost"] is not None)


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
