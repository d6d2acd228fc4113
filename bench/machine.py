"""What a result has to say about where it was measured."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
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


# What nvidia-smi is asked for, and the keys of the answers.
_GPU_STATE = {
    "clocks.sm": "sm_mhz",
    "clocks.max.sm": "max_sm_mhz",
    "clocks.mem": "memory_mhz",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "temperature.gpu": "temperature_c",
}


def _nvidia_smi(*queries: str) -> list[str] | None:
    """The answers for the current CUDA device, or None where the program is missing or silent."""
    command = ["nvidia-smi", f"--query-gpu={','.join(queries)}", "--format=csv,noheader,nounits"]
    # CUDA may number the devices in another order, so the GPU is named by its UUID.
    facts = torch.cuda.get_device_properties(torch.cuda.current_device())
    uuid = getattr(facts, "uuid", None)
    try:
        answer = subprocess.run(
            [*command, *([f"--id=GPU-{uuid}"] if uuid else [])],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    values = [value.strip() for value in answer.stdout.strip().split(",")]
    return values if len(values) == len(queries) else None


def gpu_state() -> dict[str, float | None] | None:
    """Clocks, power and temperature as nvidia-smi tells them; None without it."""
    values = _nvidia_smi(*_GPU_STATE)
    if values is None:
        return None

    def number(text: str) -> float | None:
        try:
            return float(text)
        except ValueError:  # "[N/A]"
            return None

    return {key: number(value) for key, value in zip(_GPU_STATE.values(), values, strict=True)}


def describe_gpu() -> dict[str, Any]:
    """The current CUDA device: what it is, its driver and libraries, and its clocks now."""
    facts = torch.cuda.get_device_properties(torch.cuda.current_device())
    driver = _nvidia_smi("driver_version")
    return {
        "name": facts.name,
        "capability": f"{facts.major}.{facts.minor}",
        "multiprocessors": facts.multi_processor_count,
        "memory_bytes": facts.total_memory,
        "l2_bytes": facts.L2_cache_size,
        "state": gpu_state(),
        "versions": {
            "driver": driver[0] if driver else None,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "triton": _version("triton"),
        },
    }
