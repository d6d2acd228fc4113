"""Times the fused op and its peers in turn, in one process, on the same input.

    python -m bench.compare --size 960x540 --network 9-1-5 --json bench/results/NAME.json

Every output is compared with float64 before anything is timed. Then, round after round and in a new
order each time, every contender has its turn: a call that is not timed, which brings its weights
back into the caches and outlasts the threads of others that still spin, and one that is.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import sys
import time
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from . import command, machine, report
from .cases import Case, Reference
from .peers import CONTENDERS, Forward, Setup

# A turn of less than this would measure the clock; short calls are repeated within it.
_SHORTEST_TURN = 0.02  # seconds


def prepare(
    case: Case, names: list[str], threads: int
) -> tuple[Tensor, dict[str, Forward], list[dict[str, Any]]]:
    """Builds the contenders and checks what they give.

    Returns the input, the functions that may be timed, and one entry a contender as in the JSON.
    """
    network, x = case.make_network(), case.make_input()
    reference = Reference(case, network, x)
    forwards: dict[str, Forward] = {}

    def check(name: str) -> float:
        forward = CONTENDERS[name](Setup(network, x, case.scale, threads))
        error = reference.max_error(forward(x))
        forwards[name] = forward
        return error

    entries = [command.attempt(name, check) for name in names]
    return x, forwards, entries


def take_turn(forward: Forward, x: Tensor) -> float:
    """Seconds of one call, after one that is not timed."""
    start = time.perf_counter()
    forward(x)
    calls = math.ceil(_SHORTEST_TURN / max(time.perf_counter() - start, 1e-9))
    start = time.perf_counter()
    for _ in range(calls):
        forward(x)
    return (time.perf_counter() - start) / calls


def summarise(case: Case, entries: list[dict[str, Any]], times: dict[str, list[float]]) -> None:
    """Adds median, spread, rate and ratio to the entries of the contenders that were timed."""
    for entry in entries:
        if entry["status"] != "ok":
            continue
        ms = [1e3 * seconds for seconds in times[entry["name"]]]
        median = statistics.median(ms)
        quartiles = (
            statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else [median] * 3
        )
        entry.update(
            median_ms=median,
            quartiles_ms=[quartiles[0], quartiles[2]],
            range_ms=[min(ms), max(ms)],
            gflops=case.flop / median / 1e6,
            times_ms=ms,
        )
    fused = next((e for e in entries if e["name"] == "fused" and e["status"] == "ok"), None)
    for entry in entries:
        if fused and entry["status"] == "ok":
            entry["ratio_to_fused"] = entry["median_ms"] / fused["median_ms"]


def run(
    cases: list[Case], names: list[str], *, threads: int, rounds: int, progress: Progress
) -> dict[str, Any]:
    """Measures every case with every contender; returns what the JSON file holds."""
    torch.set_num_threads(threads)
    result = command.new_result("inference", threads=threads, rounds=rounds, dtype="float32")
    shuffler = random.Random(0)
    for case in cases:
        task = progress.add_task(f"{case.network}: building and checking", total=None)
        progress.refresh()
        x, forwards, entries = prepare(case, names, threads)
        progress.update(task, description=f"{case.network}: timing", total=rounds)
        times: dict[str, list[float]] = {name: [] for name in forwards}
        for _ in range(rounds):
            for name in shuffler.sample(list(forwards), len(forwards)):
                times[name].append(take_turn(forwards[name], x))
            progress.update(task, advance=1, refresh=True)
        summarise(case, entries, times)
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
        command.write_json(args.json, result)
    if args.markdown:
        print(report.markdown(result))
    else:
        report.show(result, Console())
    return command.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
