"""Which contenders' memory an image leaves room for, before any of them takes the machine down."""

from __future__ import annotations

import dataclasses
from typing import Any

from srcnn_fused.benchmark.cases import Case
from srcnn_fused.benchmark.machine import available_memory

from . import memory

# No contender is known to take more than this for a pixel: where it fits, nothing needs be asked.
_MOST_BYTES_PER_PIXEL = 1 << 10
# What a contender's memory is extrapolated from.
_PROBE_SIDE = 576

# Engines keep what they planned between calls; PyTorch gives its features back.
_RETAINING = ("onnxruntime", "openvino")

_known: dict[tuple[Any, ...], float] = {}


def bytes_per_pixel(case: Case, name: str, dtype: str, threads: int) -> float:
    """A contender's extra memory for a pixel of the output, from a smaller image of the case."""
    side = _PROBE_SIDE // case.factor * case.factor
    small = dataclasses.replace(case, width=side, height=side, batch=1)
    key = (small, name, dtype)
    if key not in _known:
        entry = memory.measure(small, name, threads, None, dtype)
        # One that is not here, or fails, fails as quickly in its turn.
        _known[key] = entry.get("extra_bytes", 0) / small.pixels
    return _known[key]


def refused(case: Case, names: list[str], dtype: str, threads: int) -> dict[str, str]:
    """The contenders that would not fit beside those before them, with the reason."""
    free = available_memory()
    if free is None:
        return {}
    allowed = memory.SHARE_OF_AVAILABLE * free
    if case.pixels * _MOST_BYTES_PER_PIXEL * (1 + len(_RETAINING)) <= allowed:
        return {}
    reasons: dict[str, str] = {}
    kept = 0.0
    for name in names:
        needed = bytes_per_pixel(case, name, dtype, threads) * case.pixels
        if kept + needed > allowed:
            left = (allowed - kept) / 2**30
            reasons[name] = f"would need about {needed / 2**30:.1f} GiB, {left:.1f} are free"
        elif name in _RETAINING:
            kept += needed
    return reasons
