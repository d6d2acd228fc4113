"""Peak extra memory of one training step, each contender in a fresh process.

    python -m bench.train_memory --side 2048 --network 9-1-5 --peers fused

Extra means beyond the batch, its target and the weights: the output, the gradients of output and
weights, and all that the contender keeps or works in. How it is measured is told in bench.memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from srcnn_fused.benchmark import results as command
from srcnn_fused.benchmark import tables as report
from srcnn_fused.benchmark.cases import NETWORKS
from srcnn_fused.benchmark.peers import Unavailable

from .memory import PeakMemory
from .training import CONTENDERS, TrainingCase, build

_ROOT = Path(__file__).resolve().parent.parent


def measure_here(network: str, name: str, side: int, threads: int) -> dict[str, Any]:
    """Measures in this process, which has to be a fresh one. Returns one entry of the JSON."""
    torch.set_num_threads(threads)
    try:
        small = TrainingCase(network, 1, 48)
        build(name, small).step(*small.make_images())
        case = TrainingCase(network, 1, side)
        contender, images = build(name, case), case.make_images()
        peak = PeakMemory()
        contender.step(*images)
        growth = peak.growth()
    except Unavailable as error:
        return {"name": name, "status": "skipped", "reason": str(error)}
    except Exception as error:  # a peer that breaks here must not hide the others
        return {"name": name, "status": "failed", "reason": command.first_line(error)}
    return {"name": name, "status": "ok", "extra_bytes": growth, "method": peak.method}


def measure(network: str, name: str, side: int, threads: int) -> dict[str, Any]:
    """Measures in a fresh process, whatever becomes of it."""
    request = json.dumps({"network": network, "name": name, "side": side, "threads": threads})
    child = subprocess.run(
        [sys.executable, "-m", "bench.train_memory", "--measure", request],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode == 0:
        entry: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
        return entry
    lines = child.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"exit status {child.returncode}"
    return {"name": name, "status": "failed", "reason": reason}


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table a case."""
    for case in result["cases"]:
        table = Table(title=f"training step of {report.case_title(case)}", title_justify="left")
        table.add_column("")
        for name in ("extra MiB", "bytes per pixel"):
            table.add_column(name, justify="right")
        width, height = case["size"]
        for entry in case["contenders"]:
            title = report.TITLES[entry["name"]]
            if entry["status"] != "ok":
                table.add_row(title, entry["status"], entry["reason"])
                continue
            bound = "" if entry["method"] == "VmHWM" else ">= "
            extra = entry["extra_bytes"]
            table.add_row(title, f"{bound}{extra / 2**20:.1f}", f"{extra / (width * height):.1f}")
        console.print(table)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.train_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=["9-1-5"])
    parser.add_argument("--side", type=int, default=2048, help="of the square image (2048)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peers", nargs="+", choices=CONTENDERS, default=["fused"], metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # what the fresh process is told
    args = parser.parse_args(argv)
    if args.measure is not None:
        print(json.dumps(measure_here(**json.loads(args.measure))), flush=True)
        return 0
    result = command.new_result("training memory", threads=args.threads, dtype="float32")
    for network in args.network:
        entries = [measure(network, name, args.side, args.threads) for name in args.peers]
        case = TrainingCase(network, 1, args.side)
        result["cases"].append(case.describe() | {"contenders": entries})
    if args.json:
        command.write_json(args.json, result)
    show(result, Console())
    return command.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
