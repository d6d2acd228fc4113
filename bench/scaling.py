"""Time per pixel of the fused op over sizes and shapes: what a balanced tiling keeps the same.

    python -m bench.scaling --threads 1 2 --json bench/results/NAME.json

From 512x512 to 8K, a panorama, and a batch of small images; each against 1920x1080, which takes its
turn in every round with every other, so that a ratio is between neighbours in time. Memory is the
peak beyond input and output, in a fresh process.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from srcnn_fused.benchmark import results, tables
from srcnn_fused.benchmark.cases import NETWORKS, Case
from srcnn_fused.benchmark.machine import OtherWork
from srcnn_fused.benchmark.measure import spread, take_turn
from srcnn_fused.benchmark.peers import CONTENDERS, Setup

from . import command, memory

BASE = (1, 1920, 1080)
# Batch, width, height.
SHAPES = (
    (1, 512, 512),
    (1, 960, 540),
    (1, 1280, 720),
    (1, 2560, 1440),
    (1, 3840, 2160),
    (1, 7680, 4320),
    (1, 20000, 64),
    (1, 64, 20000),
    (256, 64, 64),
)


def make_call(case: Case, threads: int) -> functools.partial[torch.Tensor]:
    """One forward of the fused op."""
    network, x = case.make_network(), case.make_input()
    return functools.partial(CONTENDERS["fused"](Setup(network, x, case.scale, threads)), x)


def measure_case(case: Case, base: Case, threads: int, rounds: int) -> dict[str, Any]:
    """Nanoseconds per pixel of the case, and their ratio to those of the base case."""
    torch.set_num_threads(threads)
    call, base_call = make_call(case, threads), make_call(base, threads)
    times, ratios = [], []
    for number in range(rounds):
        turns = [(call, case), (base_call, base)]
        per_pixel = {}
        for one, whose in turns if number % 2 else reversed(turns):
            per_pixel[whose] = take_turn(one) / whose.pixels
        times.append(per_pixel[case] * case.pixels)
        ratios.append(per_pixel[case] / per_pixel[base])
    return {
        "name": "fused",
        "status": "ok",
        **spread(times),
        "times_ms": [1e3 * seconds for seconds in times],
        "ns_per_pixel": 1e9 * statistics.median(times) / case.pixels,
        "ratio_to_base": statistics.median(ratios),
        "ratios": ratios,
    }


def run(
    cases: list[Case],
    base: Case,
    *,
    thread_counts: list[int],
    rounds: int,
    with_memory: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Measures every case with every number of threads; returns what the JSON file holds."""
    result = results.new_result("scaling", rounds=rounds, dtype="float32")
    result["base"] = base.describe()
    others = OtherWork()
    task = progress.add_task("", total=len(cases) * len(thread_counts))
    entries = []
    for threads in thread_counts:
        for case in cases:
            title = f"{tables.case_title(case.describe())}, {tables.threads_title(threads)}"
            progress.update(task, description=title, refresh=True)
            entries.append((case, threads, measure_case(case, base, threads, rounds)))
            progress.update(task, advance=1, refresh=True)
    result["machine"]["others_share"] = others.share()
    result["machine"]["load_average_after"] = list(os.getloadavg())
    for case, threads, entry in entries:
        if with_memory:
            progress.update(task, description="memory", refresh=True)
            found = memory.measure(case, "fused", threads, None)
            entry.update({key: found[key] for key in ("extra_bytes", "method") if key in found})
        result["cases"].append(case.describe() | {"threads": threads, "contenders": [entry]})
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table."""
    base = tables.image_title(result["base"])
    table = Table(title=f"{result['base']['network']}, fused, float32", title_justify="left")
    table.add_column("")
    for name in ("threads", "median ms", "ns/pixel", f"/ {base}", "quartiles", "extra MiB"):
        table.add_column(name, justify="right")
    for case in result["cases"]:
        (entry,) = case["contenders"]
        low, _, high = statistics.quantiles(entry["ratios"] * 2, n=4, method="inclusive")
        table.add_row(
            tables.image_title(case),
            str(case["threads"]),
            tables.ms(entry["median_ms"]),
            f"{entry['ns_per_pixel']:.1f}",
            f"{entry['ratio_to_base']:.2f}",
            f"{low:.2f} .. {high:.2f}",
            tables.mebibytes(entry.get("extra_bytes")),
        )
    console.print(table)
    console.print(tables.headline(result), markup=False, highlight=False)
    warning = tables.busy_warning(result)
    if warning:
        console.print(warning, style="bold red", markup=False)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", choices=NETWORKS, default="9-1-5")
    parser.add_argument(
        "--shape",
        nargs="+",
        type=command.batch_shape,
        default=list(SHAPES),
        metavar="[BATCHx]WIDTHxHEIGHT",
        help="default: 512x512 to 7680x4320, 20000x64, 64x20000 and 256x64x64",
    )
    parser.add_argument(
        "--base", type=command.batch_shape, default=BASE, metavar="[BATCHx]WIDTHxHEIGHT"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true", help="measure times only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    args = parser.parse_args(argv)
    command.check_positive(parser, threads=args.threads, rounds=[args.rounds])

    def case(shape: tuple[int, int, int]) -> Case:
        batch, width, height = shape
        return Case(args.network, width, height, batch=batch)

    # Drawn between turns only: a refreshing thread would take time from the op.
    progress = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
    with progress:
        result = run(
            [case(shape) for shape in args.shape],
            case(args.base),
            thread_counts=list(dict.fromkeys(args.threads)),
            rounds=args.rounds,
            with_memory=not args.no_memory,
            progress=progress,
        )
    if args.json:
        results.write_json(args.json, result)
    show(result, Console())
    return results.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
