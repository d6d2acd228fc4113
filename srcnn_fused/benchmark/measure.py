"""Builds contenders, checks what they give, and times them in turn, in one process.

Every output is compared with float64 before anything is timed. Then, round after round and in a new
order each time, every contender has its turn: when the threads of the one before have stopped
spinning, a call that is not timed, which brings its weights back into the caches, and one that is.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .cases import Case, Reference
from .peers import CONTENDERS, Forward, Setup
from .results import attempt

__all__ = ["Call", "measure_case", "prepare", "spread", "summarise", "take_turn", "time_in_turns"]

Call = Callable[[], object]
OnStep = Callable[[str], None]

# A turn of less than this would measure the clock; short calls are repeated within it.
_SHORTEST_TURN = 0.02  # seconds

# Threads of ONNX Runtime spin for up to a tenth of a second after a call, on processors that the
# next contender needs: short calls took twice their time. So long a process has to be at rest
# before a turn, and so long that is waited for.
_REST = 0.02
_LONGEST_WAIT = 0.5


def _say_nothing(_: str) -> None:
    pass


def prepare(
    case: Case,
    names: Sequence[str],
    threads: int,
    *,
    dtype: str = "float32",
    on_step: OnStep = _say_nothing,
) -> tuple[dict[str, Call], list[dict[str, Any]]]:
    """Builds the contenders and checks what they give.

    Args:
        threads: what contenders with threads of their own use; PyTorch's are set already.
        dtype: of weights, image and output, a key of cases.TOLERANCES.
        on_step: called before each contender is built, with words for that.

    Returns the calls that may be timed, and one entry a contender as in the JSON.
    """
    network = case.make_network().to(getattr(torch, dtype))
    x = case.make_input().to(getattr(torch, dtype))
    reference = Reference(case, network, x)
    calls: dict[str, Call] = {}

    def check(name: str) -> float:
        forward = CONTENDERS[name](Setup(network, x, case.scale, threads))
        error = reference.max_error(_checked_dtype(forward, x))
        calls[name] = functools.partial(forward, x)
        return error

    entries = []
    for name in names:
        on_step(f"building {name}")
        entries.append(attempt(name, check))
    return calls, entries


def _checked_dtype(forward: Forward, x: Tensor) -> Tensor:
    output = forward(x)
    if output.dtype != x.dtype:
        raise TypeError(f"the output is {output.dtype}, the input {x.dtype}")
    return output


def measure_case(
    case: Case,
    names: Sequence[str],
    *,
    threads: int,
    rounds: int,
    dtype: str = "float32",
    probes: Mapping[str, Call] = MappingProxyType({}),
    on_step: OnStep = _say_nothing,
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Prepares, times and summarises.

    Args:
        probes: calls that are no contenders and take turns with them.
        on_step: called before each contender is built and before each turn.

    Returns the case's entry of the JSON, and the seconds of everyone's turns, the probes' included.
    """
    calls, entries = prepare(case, names, threads, dtype=dtype, on_step=on_step)
    times = time_in_turns({**calls, **probes}, rounds, on_turn=lambda: on_step("timing"))
    summarise(case, entries, times)
    return case.describe() | {"contenders": entries}, times


def _wait_for_rest() -> None:
    """Returns when no thread of this process has run for a while, or none of them ever stops."""
    begin = quiet_since = time.perf_counter()
    while (now := time.perf_counter()) < min(quiet_since + _REST, begin + _LONGEST_WAIT):
        used = time.process_time()
        time.sleep(0.004)
        if time.process_time() - used > 0.1 * (time.perf_counter() - now):
            quiet_since = time.perf_counter()


def take_turn(call: Callable[..., object], *arguments: Any) -> float:
    """Seconds of one call, after one that is not timed, in a process that was at rest."""
    _wait_for_rest()
    start = time.perf_counter()
    call(*arguments)
    calls = math.ceil(_SHORTEST_TURN / max(time.perf_counter() - start, 1e-9))
    start = time.perf_counter()
    for _ in range(calls):
        call(*arguments)
    return (time.perf_counter() - start) / calls


def time_in_turns(
    calls: Mapping[str, Call],
    rounds: int,
    *,
    on_turn: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of every call in every round; on_turn is called before each turn, off the clock."""
    shuffler = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in shuffler.sample(list(calls), len(calls)):
            on_turn()
            times[name].append(take_turn(calls[name]))
    return times


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and range of some times, in milliseconds, as in the JSON."""
    ms = [1e3 * value for value in seconds]
    median = statistics.median(ms)
    quartiles = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else [median] * 3
    return {
        "median_ms": median,
        "quartiles_ms": [quartiles[0], quartiles[2]],
        "range_ms": [min(ms), max(ms)],
    }


def summarise(
    case: Any, entries: list[dict[str, Any]], times: Mapping[str, Sequence[float]]
) -> None:
    """Adds median, spread, rate and ratio to the entries of the contenders that were timed.

    case: anything with `flop`, the operations of one call.
    """
    timed = {entry["name"]: entry for entry in entries if entry["status"] == "ok"}
    for name, entry in timed.items():
        entry.update(spread(times[name]))
        entry["gflops"] = case.flop / entry["median_ms"] / 1e6
        entry["times_ms"] = [1e3 * seconds for seconds in times[name]]
    if "fused" in timed:
        for entry in timed.values():
            entry["ratio_to_fused"] = entry["median_ms"] / timed["fused"]["median_ms"]
