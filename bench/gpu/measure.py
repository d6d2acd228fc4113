"""Builds, checks and times the contenders of one case, within what is left of the time."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from srcnn_fused.benchmark.cases import Reference, WrongOutput
from srcnn_fused.benchmark.measure import summarise
from srcnn_fused.benchmark.peers import Setup, Unavailable
from srcnn_fused.benchmark.results import first_line

from .cases import GpuCase, Precision
from .device import Device
from .peers import Contender

# A turn of one contender; calls that take less are repeated within it.
TURN_SECONDS = 0.012
_MOST_CALLS = 2000

OUT_OF_TIME = "out of time"


class AnyCase(Protocol):
    """What is measured: a forward (cases.GpuCase) or a training step (training.GpuStep)."""

    @property
    def case(self) -> Any: ...  # has a network and flop
    @property
    def precision(self) -> Precision: ...
    @property
    def title(self) -> str: ...
    def describe(self) -> dict[str, Any]: ...
    def floor_ms(self, ceilings: dict[str, Any]) -> float: ...


class AnyContender(Protocol):
    """A contender for such a case."""

    @property
    def expected_seconds(self) -> float: ...
    def active(self) -> AbstractContextManager[None]: ...


class DeviceLost(Exception):  # noqa: N818  (a state of the machine)
    """An error has left the process without the GPU: nothing more can be measured in it."""

    def __init__(self, reason: str, case: dict[str, Any]) -> None:
        super().__init__(reason)
        self.case = case  # as the JSON has it, as far as it came


@dataclass
class Budget:
    """The time there is, and what things have taken so far."""

    seconds: float
    start: float = field(default_factory=time.monotonic)
    taken: dict[str, float] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        return time.monotonic() - self.start

    def allows(self, name: str, expected: float, reserve: float = 0.0) -> bool:
        """Whether there is time for something: as much as it took last, or is expected to."""
        return self.spent + self.taken.get(name, expected) + reserve < self.seconds

    def note(self, name: str, seconds: float) -> None:
        """Remembers what something took."""
        self.taken[name] = seconds


@dataclass
class Runner:
    """A contender that may be timed."""

    contender: AnyContender
    call: Callable[[int], Tensor]
    turn_calls: int
    numbers: Iterator[int]  # of the inputs, in rotation

    def turn(self, device: Device) -> float:
        """Seconds a call, over a turn that begins behind a call which is not timed."""

        def work() -> None:
            for i in itertools.islice(self.numbers, self.turn_calls):
                self.call(i)

        with self.contender.active():
            self.call(next(self.numbers))
            return device.seconds(work) / self.turn_calls


# Builds a contender and checks it; returns it with what is known of it by then.
Prepare = Callable[[Any], tuple[Runner, dict[str, Any]]]


def paced(
    contender: AnyContender,
    call: Callable[[int], Tensor],
    numbers: Iterator[int],
    device: Device,
) -> Runner:
    """A contender whose call is warm, with as many calls a turn as fill one."""
    seconds = min(device.seconds(lambda: call(next(numbers))) for _ in range(3))
    calls = min(_MOST_CALLS, max(1, math.ceil(TURN_SECONDS / max(seconds, 1e-9))))
    return Runner(contender, call, calls, numbers)


def prepare(
    contender: Contender,
    setup: Setup,
    inputs: list[Tensor],
    reference: Reference,
    device: Device,
) -> tuple[Runner, dict[str, Any]]:
    """Builds a contender and checks its output. Returns it with what is known of it by then."""
    numbers = itertools.cycle(range(len(inputs)))
    with contender.active():
        call = contender.build(setup, inputs, device)
        # What the output will probably be put into: no earlier right output may stand in for it.
        n, c, height, width = inputs[0].shape
        factor = setup.scale or 1
        inputs[0].new_full((n, c, factor * height, factor * width), math.nan)
        entry: dict[str, Any] = {"max_error": reference.max_error(call(0))}
        if not contender.owns_memory:
            entry["extra_bytes"] = device.extra_bytes(lambda: call(next(numbers)))
        return paced(contender, call, numbers, device), entry


def begin_forward(case: GpuCase, device: Device) -> Prepare:
    """The case's network, inputs and float64 output, for its contenders to be prepared with."""
    network = case.make_network(device.torch_device)
    inputs = case.make_inputs(device.torch_device, device.cache_bytes)
    setup = Setup(network, inputs[0], case.case.scale, torch.get_num_threads())
    reference = case.make_reference(network, inputs[0])
    device.release()  # the reference's features
    return lambda contender: prepare(contender, setup, inputs, reference, device)


def failure(error: Exception) -> dict[str, str]:
    """Status and reason of a contender that raised this."""
    if isinstance(error, Unavailable):
        return {"status": "skipped", "reason": str(error)}
    if isinstance(error, WrongOutput):
        return {"status": "wrong", "reason": str(error)}
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return {"status": "out of memory", "reason": first_line(error)}
    return {"status": "failed", "reason": first_line(error)}


def skipped(case: AnyCase, contenders: Mapping[str, AnyContender]) -> dict[str, Any]:
    """The entry of a case that there was no time for."""
    entries = [{"name": n, "status": "skipped", "reason": OUT_OF_TIME} for n in contenders]
    return case.describe() | {"contenders": entries}


def _build_all(
    prepare: Prepare,
    contenders: Mapping[str, AnyContender],
    device: Device,
    budget: Budget,
    reserve: float,
    entries: list[dict[str, Any]],
) -> dict[str, Runner]:
    """The contenders that may be timed; an entry for each is put into entries."""
    runners: dict[str, Runner] = {}
    for name, contender in contenders.items():
        entry: dict[str, Any] = {"name": name, "status": "ok"}
        entries.append(entry)
        if not budget.allows(name, contender.expected_seconds, reserve):
            entry.update(status="skipped", reason=OUT_OF_TIME)
            continue
        start = time.monotonic()
        try:
            runners[name], known = prepare(contender)
            entry.update(known)
        except Exception as error:  # a peer that breaks here must not hide the others
            entry.update(failure(error))
        entry["build_s"] = time.monotonic() - start
        budget.note(name, entry["build_s"])
        if entry["status"] in ("failed", "out of memory"):
            device.release()
            if not device.works():
                break  # the caller sees it, too
    return runners


def measure(
    case: AnyCase,
    contenders: Mapping[str, AnyContender],
    device: Device,
    ceilings: dict[str, Any],
    budget: Budget,
    *,
    begin: Callable[[Any, Device], Prepare],
    rounds: int,
    reserve: float = 0.0,
) -> dict[str, Any]:
    """Measures a case with every contender; returns its entry of the JSON.

    begin: makes what the contenders are prepared with. reserve: seconds of the budget that are not
    to be touched. Raises DeviceLost.
    """
    start = time.monotonic()
    shuffler = random.Random(0)
    times: dict[str, list[float]] = {}
    entries: list[dict[str, Any]] = []
    result = case.describe() | {"floor_ms": case.floor_ms(ceilings), "contenders": entries}
    try:
        with case.precision.active():
            prepared = begin(case, device)
            runners = _build_all(prepared, contenders, device, budget, reserve, entries)
            times = {name: [] for name in runners}
            for _ in range(rounds if runners else 0):
                for name in shuffler.sample(list(runners), len(runners)):
                    times[name].append(runners[name].turn(device))
            result["gpu_state"] = device.state()  # while it is still as hot
            del runners, prepared
        _summarise(case, entries, times, ceilings)
    except Exception as error:  # too little memory for the inputs, say
        entries[:] = [{"name": name, **failure(error)} for name in contenders]
    if not device.works():
        raise DeviceLost(f"the GPU is lost to this process after {case.title}", result)
    device.release()
    result["seconds"] = time.monotonic() - start
    return result


def _summarise(
    case: AnyCase,
    entries: list[dict[str, Any]],
    times: dict[str, list[float]],
    ceilings: dict[str, Any],
) -> None:
    """Adds times, rates and ratios to the entries of the contenders that were timed."""
    summarise(case.case, entries, times)
    by_name = {entry["name"]: entry for entry in entries if entry["status"] == "ok"}
    for entry in by_name.values():
        peak = 1e3 * ceilings["matmul_tflops"][case.precision.name]
        entry["share_of_peak"] = entry["gflops"] / peak
        entry["share_of_floor"] = case.floor_ms(ceilings) / entry["median_ms"]
        if "fused" in by_name:
            entry["fused_median_ms"] = by_name["fused"]["median_ms"]
