"""Times the fused op and its peers in turn, in one process, on the same input.

    python -m bench.compare --size 960x540 --network 9-1-5 --json bench/results/NAME.json

How is told in srcnn_fused.benchmark.measure.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from srcnn_fused.benchmark import machine, measure, results, tables
from srcnn_fused.benchmark.cases import Case
from srcnn_fused.benchmark.peers import CONTENDERS

from . import command, report


def run(
    cases: list[Case], names: list[str], *, threads: int, rounds: int, progress: Progress
) -> dict[str, Any]:
    """Measures every case with every contender; returns what the JSON file holds."""
    torch.set_num_threads(threads)
    result = results.new_result("inference", threads=threads, rounds=rounds, dtype="float32")
    for case in cases:
        task = progress.add_task(f"{case.network}: building and checking", total=None)
        progress.refresh()
        calls, entries = measure.prepare(case, names, threads)
        progress.update(task, description=f"{case.network}: timing", total=rounds * len(calls))
        times = measure.time_in_turns(
            calls, rounds, on_turn=lambda task=task: progress.update(task, advance=1, refresh=True)
        )
        measure.summarise(case, entries, times)
        result["cases"].append(case.describe() | {"contenders": entries})
    result["machine"]["load_average_after"] = list(os.getloadavg())
    return result


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = command.make_parser("bench.compare", __doc__, size="960x540", peers=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--thp", action="store_true", help=f"run with {machine.HUGE_PAGES_VARIABLE}=1"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the README's table instead of this one"
    )
    args = parser.parse_args(argv)
    cases = command.cases_from(args, parser)
    if args.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, got {args.rounds}")
    if args.thp and os.environ.get(machine.HUGE_PAGES_VARIABLE) != "1":
        # PyTorch reads it once, before anything of this file runs.
        environment = {**os.environ, machine.HUGE_PAGES_VARIABLE: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)

    # Drawn between turns only: a refreshing thread would take time from the contenders.
    progress = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
    with progress:
        result = run(cases, args.peers, threads=args.threads, rounds=args.rounds, progress=progress)
    if args.json:
        results.write_json(args.json, result)
    if args.markdown:
        print(report.markdown(result))
    else:
        tables.show(result, Console())
    return results.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
