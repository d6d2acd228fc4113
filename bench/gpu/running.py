"""A run of the GPU benchmark: cases in turn within the budget, and the result as far as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from srcnn_fused.benchmark import results

from . import report
from .device import Device, measure_ceilings
from .measure import AnyCase, AnyContender, Budget, DeviceLost, Prepare, measure, skipped
from .peers import forget_compiled

# Of the budget, what is kept for torch.compile.
_COMPILE_SHARE = 0.4


class Run:
    """One run: what it is to measure with, and its result as far as it has come."""

    def __init__(
        self,
        kind: str,  # of the result
        begin: Callable[[Any, Device], Prepare],
        device: Device,
        budget: Budget,
        rounds: int,
        json: Path | None,
    ) -> None:
        self.begin = begin
        self.device = device
        self.budget = budget
        self.rounds = rounds
        self.json = json
        self.result = results.new_result(
            kind, rounds=rounds, budget_s=budget.seconds, compile_share=_COMPILE_SHARE
        )
        self.result["machine"]["gpu"] = device.describe()
        self.result["ceilings"] = {}
        self.result["lost"] = None  # why the run ended early

    def all(
        self,
        cases: Iterable[AnyCase],
        contenders: Mapping[str, AnyContender],
        compiled_cases: Iterable[AnyCase],
        compiled: Mapping[str, AnyContender],
        fused: AnyContender,  # takes turns with torch.compile
        precisions: list[str],
    ) -> dict[str, Any]:
        """Ceilings, every case, then torch.compile; the result, whatever became of the device."""
        try:
            self.measure_ceilings(precisions)
            reserve = _COMPILE_SHARE * self.budget.seconds if compiled else 0.0
            self.measure(cases, contenders, reserve)
            if compiled:
                self.compile(compiled_cases, compiled, fused)
        except DeviceLost as error:
            self.result["lost"] = str(error)
        self.result["settings"]["seconds"] = self.budget.spent
        self.save()
        return self.result

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
        self, cases: Iterable[AnyCase], contenders: Mapping[str, AnyContender], reserve: float
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

    def compile(
        self, cases: Iterable[AnyCase], compiled: Mapping[str, AnyContender], fused: AnyContender
    ) -> None:
        """torch.compile on each case, with the fused op taking turns; adds to the case's entry."""
        for case in cases:
            forget_compiled()
            wanted = compiled.items()
            if any(self.budget.allows(name, one.expected_seconds) for name, one in wanted):
                entries = self._measure(case, {"fused": fused, **compiled}, 0.0)["contenders"][1:]
            else:
                entries = skipped(case, compiled)["contenders"]
            described = case.describe()
            for earlier in self.result["cases"]:
                if {key: earlier[key] for key in described} == described:
                    earlier["contenders"] += entries
            self._report(case, entries)

    def _measure(
        self, case: AnyCase, contenders: Mapping[str, AnyContender], reserve: float
    ) -> dict[str, Any]:
        try:
            return measure(
                case,
                contenders,
                self.device,
                self.result["ceilings"],
                self.budget,
                begin=self.begin,
                rounds=self.rounds,
                reserve=reserve,
            )
        except DeviceLost as error:
            self.result["cases"].append(error.case)
            raise

    def _report(self, case: AnyCase, entries: list[dict[str, Any]]) -> None:
        self.save()
        self._say(f"{case.title}: " + ", ".join(map(report.one_entry, entries)))

    def _say(self, line: str) -> None:
        print(f"[{self.budget.spent:4.0f} s] {line}", flush=True)
