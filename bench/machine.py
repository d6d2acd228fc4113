"""What a result has to say about where it was measured."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from srcnn_fused import _extension

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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
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
            **{package: _version(package) for package in _PACKAGES},
        },
    }
