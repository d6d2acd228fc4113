"""Peak extra memory of one forward, each contender in a fresh process.

    python -m bench.memory --size 7680x4320 --network 9-1-5 --peers fused eager

Extra means beyond the input and the output. A contender first runs on a small image, which loads
its libraries and starts its threads; then its peak resident memory is reset, and building it for
the real size (where inference engines plan their buffers) and one forward are measured. Address
space is limited, so that a contender that needs more than the machine has gets an error, which the
result records, instead of taking the machine down.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from srcnn_fused.benchmark import results, tables
from srcnn_fused.benchmark.cases import Case, Reference, WrongOutput
from srcnn_fused.benchmark.machine import available_memory
from srcnn_fused.benchmark.peers import CONTENDERS, Setup, Unavailable

from . import command

_ROOT = Path(__file__).resolve().parent.parent
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_MIB = 1 << 20

# Of the memory that is free when a measurement starts, what a contender may take.
SHARE_OF_AVAILABLE = 0.85


def _status_bytes(key: str) -> int:
    """A line of /proc/self/status, such as VmRSS."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise OSError(f"{_STATUS} has no {key}")


def _max_rss() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class PeakMemory:
    """How far this process's resident memory has risen, at most, since this was made.

    Where Linux lets the peak be reset, it is exact. Elsewhere only a rise above everything before
    is seen, so the growth is a lower bound; `method` says which it was.
    """

    def __init__(self) -> None:
        self.method = "VmHWM"
        try:
            ctypes.CDLL(None).malloc_trim(0)  # freed memory must not hide what comes now
            _CLEAR_REFS.write_text("5")
            self._before = _status_bytes("VmRSS")
        except (OSError, AttributeError):
            self.method = "ru_maxrss"
            self._before = _max_rss()

    def growth(self) -> int:
        """Bytes."""
        now = _status_bytes("VmHWM") if self.method == "VmHWM" else _max_rss()
        return max(0, now - self._before)


def _limit_address_space(extra: int) -> None:
    """Lets this process map so many bytes more than now."""
    try:
        soft = _status_bytes("VmSize") + extra
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _unlimit_address_space() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("alloc", "out of memory", "could not create a memory")
    )


def measure_here(
    case: Case, name: str, threads: int, limit: int | None, dtype: str = "float32"
) -> dict[str, Any]:
    """Measures in this process, which should be a fresh one. Returns one entry of the JSON."""
    torch.set_num_threads(threads)
    factor = case.factor
    small = dataclasses.replace(case, width=64 * factor, height=48 * factor)
    build = CONTENDERS[name]
    entry: dict[str, Any] = {"name": name, "status": "ok"}
    try:
        kind = getattr(torch, dtype)
        network, x = small.make_network().to(kind), small.make_input().to(kind)
        build(Setup(network, x, case.scale, threads))(x)

        x = case.make_input().to(kind)
        if limit is not None:
            _limit_address_space(limit)
        peak = PeakMemory()
        forward = build(Setup(network, x, case.scale, threads))
        output = forward(x)
        growth = peak.growth()
        del forward
        _unlimit_address_space()
        entry["max_error"] = Reference(case, network, x).max_error(output)
        entry["extra_bytes"] = max(0, growth - output.nbytes)
        entry["method"] = peak.method
    except Unavailable as error:
        entry.update(status="skipped", reason=str(error))
    except WrongOutput as error:
        entry.update(status="wrong", reason=str(error))
    except Exception as error:  # a peer that breaks here must not hide the others
        out = limit is not None and _is_out_of_memory(error)
        entry.update(status="out of memory" if out else "failed", reason=results.first_line(error))
    return entry


def measure(
    case: Case, name: str, threads: int, limit: int | None, dtype: str = "float32"
) -> dict[str, Any]:
    """Measures in a fresh process. Returns one entry of the JSON, whatever becomes of it.

    limit: bytes that it may map beyond what it starts with; None: no limit.
    """
    request = {
        "case": dataclasses.asdict(case),
        "name": name,
        "threads": threads,
        "limit": limit,
        "dtype": dtype,
    }
    child = subprocess.run(
        [sys.executable, "-m", "bench.memory", "--measure", json.dumps(request)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    entry: dict[str, Any] = {"name": name, "status": "failed"}
    if child.returncode == 0:
        entry = json.loads(child.stdout.splitlines()[-1])
    elif child.returncode < 0:
        # Engines that do not expect a failing allocation abort, and so does the OOM killer.
        entry["reason"] = f"the process was ended by {signal.Signals(-child.returncode).name}"
        if "bad_alloc" in child.stderr:
            entry.update(status="out of memory", reason="std::bad_alloc")
    else:
        lines = child.stderr.strip().splitlines()
        entry["reason"] = lines[-1] if lines else f"exit status {child.returncode}"
    entry["limit_bytes"] = limit
    return entry


def default_limit() -> int | None:
    """Of the memory that is free now, what a contender may take."""
    available = available_memory()
    return None if available is None else int(SHARE_OF_AVAILABLE * available)


def run(cases: list[Case], names: list[str], *, threads: int, limit: int | None) -> dict[str, Any]:
    """Measures every case with every contender; returns what the JSON file holds."""
    result = results.new_result("memory", threads=threads, dtype="float32")
    for case in cases:
        entries = [
            measure(case, name, threads, default_limit() if limit is None else limit)
            for name in names
        ]
        result["cases"].append(case.describe() | {"contenders": entries})
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table a case."""
    for case in result["cases"]:
        width, height = case["size"]
        table = Table(title=tables.case_title(case), title_justify="left")
        table.add_column("")
        for name in ("extra MiB", "bytes per output pixel", "max error"):
            table.add_column(name, justify="right")
        for entry in case["contenders"]:
            title = tables.TITLES[entry["name"]]
            if entry["status"] != "ok":
                table.add_row(title, entry["status"])
                continue
            bound = "" if entry["method"] == "VmHWM" else ">= "
            table.add_row(
                title,
                f"{bound}{entry['extra_bytes'] / _MIB:.1f}",
                f"{entry['extra_bytes'] / (width * height):.2f}",
                f"{entry['max_error']:.1e}",
            )
        console.print(table)
        for entry in case["contenders"]:
            if entry["status"] == "out of memory":
                allowed = entry["limit_bytes"] / 2**30
                console.print(f"{entry['name']} needs more than the {allowed:.1f} GiB allowed")
            elif entry["status"] != "ok":
                console.print(f"{entry['name']} {entry['status']}: {entry['reason']}", markup=False)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = command.make_parser("bench.memory", __doc__, peers=["fused", "eager"])
    command.add_sizes(parser, "1920x1080")
    command.add_threads(parser)
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # what the fresh process is told
    parser.add_argument(
        "--limit-gib",
        type=float,
        help=f"what a contender may take (default: {SHARE_OF_AVAILABLE:.0%} of what is free)",
    )
    args = parser.parse_args(argv)
    if args.measure is not None:
        request = json.loads(args.measure)
        print(json.dumps(measure_here(**request | {"case": Case(**request["case"])})), flush=True)
        os._exit(0)  # an engine's teardown under what is left of the limit is not measured

    limit = None if args.limit_gib is None else int(args.limit_gib * 2**30)
    command.check_positive(parser, threads=[args.threads])
    cases = command.cases_from(args, parser)
    with Console(stderr=True).status("measuring"):
        result = run(cases, args.peers, threads=args.threads, limit=limit)
    if args.json:
        results.write_json(args.json, result)
    show(result, Console())
    return results.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
