"""Times the fused op and its peers in turn, in one process, on the same input.

    python -m bench.compare --size 960x540 --network 9-1-5 --json bench/results/NAME.json
    python -m bench.compare --size 128x128 7680x4320 --threads 1 2 --memory --ceilings --with-thp

How is told in srcnn_fused.benchmark.measure. Where several sizes, dtypes or numbers of threads are
named, every combination is a case.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from srcnn_fused.benchmark import machine, measure, results, tables
from srcnn_fused.benchmark.cases import TOLERANCES, Case
from srcnn_fused.benchmark.peers import CONTENDERS

from . import admission, ceilings, command, markdown, memory

# PyTorch's own memory: what huge pages make a difference to.
_THP_PEERS = ("eager", "channels_last", "compile", "compile_frozen")


def measure_case(
    case: Case,
    names: list[str],
    *,
    threads: int,
    dtype: str,
    rounds: int,
    with_ceilings: bool,
    with_memory: bool,
    on_step: measure.OnStep,
) -> dict[str, Any]:
    """One case's entry of the JSON; contenders that would not fit into memory are not run."""
    torch.set_num_threads(threads)
    peaks: dict[str, dict[str, Any]] = {}
    if with_memory:
        for name in names:
            on_step(f"memory of {name}")
            peaks[name] = memory.measure(case, name, threads, memory.default_limit(), dtype)
    refused = admission.refused(case, names, dtype, threads)
    for name, peak in peaks.items():
        if peak["status"] == "out of memory":
            refused[name] = f"needs more than the {peak['limit_bytes'] / 2**30:.1f} GiB allowed"
    admitted = [name for name in names if name not in refused]
    probes = ceilings.make_probes(dtype) if with_ceilings else {}
    entry, times = measure.measure_case(
        case, admitted, threads=threads, rounds=rounds, dtype=dtype, probes=probes, on_step=on_step
    )
    found = {contender["name"]: contender for contender in entry["contenders"]}
    for name, reason in refused.items():
        found[name] = {"name": name, "status": "out of memory", "reason": reason}
    entry["contenders"] = [found[name] for name in names]
    for name, peak in peaks.items():
        if peak["status"] == "ok":
            found[name] |= {key: peak[key] for key in ("extra_bytes", "method")}
    if with_ceilings:
        ceilings.add(entry, case, dtype, ceilings.from_times(times))
    return entry


def run(
    cases: list[Case],
    names: list[str],
    *,
    threads: list[int],
    dtypes: list[str],
    rounds: int,
    with_ceilings: bool,
    with_memory: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Measures every case with every contender; returns what the JSON file holds.

    threads and dtypes stand among the settings where there is one of them, else with each case.
    """
    varied: dict[str, list[Any]] = {"threads": threads, "dtype": dtypes}
    common = {key: values[0] for key, values in varied.items() if len(values) == 1}
    result = results.new_result("inference", rounds=rounds, **common)
    jobs = list(itertools.product(dtypes, threads, cases))
    steps = len(names) * (1 + rounds + with_memory) + 2 * rounds * with_ceilings
    task = progress.add_task("", total=len(jobs) * steps)
    others = machine.OtherWork()
    for index, (dtype, count, case) in enumerate(jobs):
        own = {"dtype": dtype, "threads": count}
        title = f"{tables.case_title(case.describe())}, {dtype}, {tables.threads_title(count)}"

        def on_step(what: str, title: str = title) -> None:
            progress.update(task, description=f"{title}: {what}", advance=1, refresh=True)

        entry = measure_case(
            case,
            names,
            threads=count,
            dtype=dtype,
            rounds=rounds,
            with_ceilings=with_ceilings,
            with_memory=with_memory,
            on_step=on_step,
        )
        result["cases"].append(
            entry | {key: value for key, value in own.items() if key not in common}
        )
        progress.update(task, completed=(index + 1) * steps)
    result["machine"]["others_share"] = others.share()
    result["machine"]["load_average_after"] = list(os.getloadavg())
    return result


def add_huge_pages(result: dict[str, Any], arguments: list[str], names: list[str]) -> None:
    """Adds PyTorch's contenders with huge pages, from a process of their own.

    PyTorch reads the variable once. The fused op runs there, too, and ratios are to that.
    """
    wanted = ["fused", *(name for name in names if name in _THP_PEERS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        options = ["--peers", *wanted, "--json", str(path), "--thp"]
        subprocess.run(
            [sys.executable, "-m", "bench.compare", *arguments, *options],
            env={**os.environ, machine.HUGE_PAGES_VARIABLE: "1"},
            stdout=subprocess.DEVNULL,
            check=False,  # its exit status tells of contenders, which are in the result
        )
        theirs = json.loads(path.read_text())
    for case, other in zip(result["cases"], theirs["cases"], strict=True):
        case["contenders"] += [
            {**entry, "name": f"{entry['name']}_thp"}
            for entry in other["contenders"]
            if entry["name"] in _THP_PEERS
        ]


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = command.make_parser("bench.compare", __doc__, peers=list(CONTENDERS))
    command.add_sizes(parser, "960x540")
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        default=[torch.get_num_threads()],
        help="default: PyTorch's own choice",
    )
    parser.add_argument("--dtype", nargs="+", choices=TOLERANCES, default=["float32"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", action="store_true", help="and bench.memory's peaks")
    parser.add_argument(
        "--ceilings", action="store_true", help="and the share of what the machine can do"
    )
    thp = parser.add_mutually_exclusive_group()
    thp.add_argument("--thp", action="store_true", help=f"with {machine.HUGE_PAGES_VARIABLE}=1")
    thp.add_argument(
        "--with-thp", action="store_true", help="PyTorch's contenders both ways, without and with"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the README's table instead of this one"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    cases = command.cases_from(args, parser)
    command.check_positive(parser, threads=args.threads, rounds=[args.rounds])
    if args.thp and os.environ.get(machine.HUGE_PAGES_VARIABLE) != "1":
        # PyTorch reads it once, before anything of this file runs.
        environment = {**os.environ, machine.HUGE_PAGES_VARIABLE: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)

    # Drawn between turns only: a refreshing thread would take time from the contenders.
    progress = Progress(console=Console(stderr=True), transient=True, auto_refresh=False)
    with progress:
        result = run(
            cases,
            args.peers,
            threads=args.threads,
            dtypes=args.dtype,
            rounds=args.rounds,
            with_ceilings=args.ceilings,
            with_memory=args.memory,
            progress=progress,
        )
    if args.with_thp:
        arguments = [*(sys.argv[1:] if argv is None else argv)]
        arguments = [word for word in arguments if word not in ("--with-thp", "--memory")]
        add_huge_pages(result, arguments, args.peers)
    if args.json:
        results.write_json(args.json, result)
    if args.markdown:
        print(markdown.table(result))
    else:
        tables.show(result, Console())
    return results.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
