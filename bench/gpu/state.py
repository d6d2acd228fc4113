"""What a result has to say about the GPU it was measured on, and its clocks now."""

from __future__ import annotations

import subprocess
from typing import Any

import torch

from srcnn_fused.benchmark.machine import version

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
            "triton": version("triton"),
        },
    }
