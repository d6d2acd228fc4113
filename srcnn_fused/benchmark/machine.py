"""What a result has to say about where it was measured, and about who else was at work there."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from .. import _extension

__all__ = ["HUGE_PAGES_VARIABLE", "OtherWork", "available_memory", "describe", "version"]

_PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "openvino")

# With this variable at 1 when it starts, PyTorch asks for huge pages for its larger tensors.
HUGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """Of an installed distribution; None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, or None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def describe() -> dict[str, Any]:
    """CPU, instruction set, versions, load and date, as they are now; see bench/README.md."""
    extension = _extension.module() if _extension.available() else None
    build = extension.build_info() if extension else {}
    page_policy = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "isa": extension.cpu_isa() if extension else None,
        "pytorch_isa": torch.backends.cpu.get_cpu_capability(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": list(os.getloadavg()),
        "system": f"{platform.system()} {platform.machine()}",
        "thp": os.environ.get(HUGE_PAGES_VARIABLE) == "1",
        "thp_policy": page_policy.read_text().strip() if page_policy.exists() else None,
        "versions": {
            "python": platform.python_version(),
            "srcnn_fused": build.get("version"),
            "compiler": build.get("compiler"),
            **{package: version(package) for package in _PACKAGES},
        },
    }


class OtherWork:
    """How much of the processors' time others take: other programs, and other virtual machines.

    The load average, which a run raises by itself and which lags by a minute, cannot say that of
    the run itself.
    """

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begins anew."""
        self._before = self._now()

    def share(self) -> float | None:
        """Of all processors' time since the start, 0 to 1; None where the system does not say."""
        now = self._now()
        if now is None or self._before is None:
            return None
        wall, busy, ours = (after - before for after, before in zip(now, self._before, strict=True))
        whole = wall * (os.cpu_count() or 1)
        return min(1.0, max(0.0, (busy - ours) / whole)) if whole > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Seconds: on the clock, of busy processors, of this process and those it started."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
            user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, fields)
            ours = _family_ticks(os.getpid())
        except (OSError, ValueError):
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        busy = (user + nice + system + irq + soft_irq + steal) / ticks
        return time.monotonic(), busy, ours / ticks


def _family_ticks(root: int) -> int:
    """Processor time of a process, its living descendants, and those that ended and were awaited.

    torch.compile's compilers and the fresh processes of bench.memory are no strangers.
    """
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: man 5 proc

    def belongs(pid: int) -> bool:
        while pid != root and pid in parents:
            pid = parents[pid]
        return pid == root

    return sum(spent for pid, spent in ticks.items() if belongs(pid))
