"""The GPU as the benchmark sees it, and a stand-in on which tests run the same code without one."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import state
from .cases import PRECISIONS, Precision


class CudaDevice:
    """The current CUDA device. Timing is by events in the current stream."""

    has_graphs = True
    matmul_side = 8192
    copy_bytes = 1 << 30

    def __init__(self) -> None:
        self.torch_device = torch.device("cuda", torch.cuda.current_device())
        self.name = torch.cuda.get_device_name()
        facts = torch.cuda.get_device_properties(self.torch_device)
        self.cache_bytes: int = facts.L2_cache_size

    def describe(self) -> dict[str, Any]:
        """What a result file says about it."""
        return state.describe_gpu()

    def state(self) -> dict[str, Any] | None:
        """Clocks, power and temperature now, where nvidia-smi tells."""
        return state.gpu_state()

    def seconds(self, work: Callable[[], object]) -> float:
        """How long the device takes for the work, what holds it up on the host included."""
        event: Any = torch.cuda.Event  # untyped in torch
        start, end = event(enable_timing=True), event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1e3

    def extra_bytes(self, call: Callable[[], Tensor]) -> int | None:
        """Peak of allocated memory in a call, beyond what is there and the output."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        output = call()
        torch.cuda.synchronize()
        return max(0, torch.cuda.max_memory_allocated() - before - output.nbytes)

    def works(self) -> bool:
        """False after an error that leaves the process without the GPU, such as a bad access."""
        try:
            torch.zeros(1, device=self.torch_device).add_(1).item()
            torch.cuda.synchronize()
        except RuntimeError:
            return False
        return True

    def release(self) -> None:
        """Gives back all memory that no tensor holds."""
        gc.collect()
        torch.cuda.empty_cache()


class HostDevice:
    """The CPU in the GPU's place: no graphs, no memory statistics, and a clock of its own."""

    has_graphs = False
    matmul_side = 64
    copy_bytes = 1 << 16
    name = "no GPU"
    cache_bytes = 1 << 12

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def state(self) -> dict[str, Any] | None:
        return None

    def seconds(self, work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def extra_bytes(self, call: Callable[[], Tensor]) -> int | None:
        call()
        return None

    def works(self) -> bool:
        return True

    def release(self) -> None:
        gc.collect()


Device = CudaDevice | HostDevice


def measure_ceilings(device: Device, precisions: list[str]) -> dict[str, Any]:
    """The rates of a large matrix product in each precision, and of a large copy, on noise.

    matmul_tflops: {precision: TFLOP/s}; copy_gb_per_s counts bytes read and bytes written.
    """
    rates = {name: _matmul_tflops(device, PRECISIONS[name]) for name in precisions}
    copy_rate = _copy_gb_per_s(device)
    device.release()
    return {
        "matmul_side": device.matmul_side,
        "matmul_tflops": rates,
        "copy_bytes": device.copy_bytes,
        "copy_gb_per_s": copy_rate,
    }


def _matmul_tflops(device: Device, precision: Precision) -> float:
    side = device.matmul_side
    with precision.active():
        a, b = (
            torch.randn(side, side, device=device.torch_device).to(precision.dtype)
            for _ in range(2)
        )
        out = torch.empty_like(a)
        seconds = _median_seconds(device, lambda: torch.matmul(a, b, out=out))
    return 2 * side**3 / seconds / 1e12


def _copy_gb_per_s(device: Device) -> float:
    source = torch.rand(device.copy_bytes // 4, device=device.torch_device)
    target = torch.empty_like(source)
    seconds = _median_seconds(device, lambda: target.copy_(source))
    return 2 * device.copy_bytes / seconds / 1e9


def _median_seconds(device: Device, work: Callable[[], object], repeats: int = 10) -> float:
    for _ in range(3):
        work()
    return statistics.median(device.seconds(work) for _ in range(repeats))
