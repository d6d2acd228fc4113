"""Times a training step of the fused op and its peers in turn, in one process, on the same batch.

    python -m bench.train --network 9-1-5 9-5-5 --threads 2 --json bench/results/NAME.json

A step is forward, mean squared error and backward with the gradients of all weights. Every
gradient is compared with float64 before anything is timed; then, round after round and in a new
order each time, every contender has its turn, as in bench.compare.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from srcnn_fused.benchmark import results as command
from srcnn_fused.benchmark import tables as report
from srcnn_fused.benchmark.cases import NETWORKS
from srcnn_fused.benchmark.machine import OtherWork
from srcnn_fused.benchmark.measure import summarise, take_turn

from .training import CONTENDERS, Reference, Trained, TrainingCase, build

# Patches as the public ports train on, and images large enough to leave every cache.
BATCHES = ((16, 33), (4, 256))


def parse_batch(text: str) -> tuple[int, int]:
    """ "16x33" -> 16 images of 33x33; for argparse."""
    batch, _, side = text.partition("x")
    if not (batch.isdecimal() and side.isdecimal() and int(batch) and int(side)):
        raise argparse.ArgumentTypeError(f"must be BATCHxSIDE, such as 16x33, got {text!r}")
    return int(batch), int(side)


def prepare(
    case: TrainingCase, names: list[str], x: Tensor, target: Tensor
) -> tuple[dict[str, Trained], list[dict[str, Any]]]:
    """Builds the contenders and checks their gradients.

    Returns those that may be timed, and one entry a contender as in the JSON.
    """
    reference = Reference(case)
    trained: dict[str, Trained] = {}

    def check(name: str) -> float:
        contender = build(name, case)
        contender.step(x, target)
        error = reference.max_error(contender.parameters)
        trained[name] = contender
        return error

    entries = [command.attempt(name, check) for name in names]
    return trained, entries


def run(
    cases: list[TrainingCase], names: list[str], *, threads: int, rounds: int, progress: Progress
) -> dict[str, Any]:
    """Measures every case with every contender; returns what the JSON file holds."""
    torch.set_num_threads(threads)
    result = command.new_result("training", threads=threads, rounds=rounds, dtype="float32")
    shuffler = random.Random(0)
    others = OtherWork()
    for case in cases:
        title = f"{case.network}, {case.batch} of {case.side}x{case.side}"
        task = progress.add_task(f"{title}: building and checking", total=None)
        progress.refresh()
        x, target = case.make_images()
        trained, entries = prepare(case, names, x, target)
        progress.update(task, description=f"{title}: timing", total=rounds)
        times: dict[str, list[float]] = {name: [] for name in trained}
        for _ in range(rounds):
            for name in shuffler.sample(list(trained), len(trained)):
                step = functools.partial(trained[name].step, target=target)
                times[name].append(take_turn(step, x))
            progress.update(task, advance=1, refresh=True)
        summarise(case, entries, times)
        result["cases"].append(case.describe() | {"contenders": entries})
    result["machine"]["others_share"] = others.share()
    result["machine"]["load_average_after"] = list(os.getloadavg())
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table a case."""
    for case in result["cases"]:
        width, height = case["size"]
        title = f"{case['network']}, one step of {case['batch']} of {width}x{height}"
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for name in ("median ms", "quartiles", "GFLOP/s", "/ fused", "max error"):
            table.add_column(name, justify="right")
        for entry in case["contenders"]:
            name = report.TITLES[entry["name"]]
            if entry["status"] != "ok":
                table.add_row(name, entry["status"], entry["reason"])
                continue
            low, high = entry["quartiles_ms"]
            ratio = entry.get("ratio_to_fused")
            table.add_row(
                name,
                f"{entry['median_ms']:.2f}",
                f"{low:.2f} .. {high:.2f}",
                f"{entry['gflops']:.0f}",
                f"{ratio:.2f}" if ratio else "",
                f"{entry['max_error']:.1e}",
            )
        console.print(table)
    console.print(report.headline(result), markup=False, highlight=False)
    warning = report.busy_warning(result)
    if warning:
        console.print(warning, style="bold red", markup=False)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=["9-1-5", "9-5-5"])
    parser.add_argument(
        "--batch",
        nargs="+",
        type=parse_batch,
        default=list(BATCHES),
        metavar="BATCHxSIDE",
        help="images and their side (default: 16x33 4x256)",
    )
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="default: PyTorch's own choice"
    )
    parser.add_argument(
        "--peers", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    args = parser.parse_args(argv)
    for name in ("threads", "rounds"):
        if getattr(args, name) < 1:
            parser.error(f"argument --{name}: must be at least 1, got {getattr(args, name)}")
    cases = [TrainingCase(name, *batch) for name in args.network for batch in args.batch]

    # Drawn between turns only: a refreshing thread would take time from the contenders.
    progress = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
    with progress:
        result = run(cases, args.peers, threads=args.threads, rounds=args.rounds, progress=progress)
    if args.json:
        command.write_json(args.json, result)
    show(result, Console())
    return command.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
