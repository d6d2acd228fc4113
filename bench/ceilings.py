"""What this machine can do at most: the rates that a floor is made of.

A case's floor is the longer of its products at the rate of a large matrix product, and its bytes
(input read once, output written once) at the rate of a large copy. An algorithm of fewer products
than the direct convolution can go below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from srcnn_fused.benchmark.cases import Case
from srcnn_fused.benchmark.measure import Call

_MATMUL_SIDE = 1024
_COPY_BYTES = 64 << 20  # more than caches hold
MATMUL, COPY = "ceiling: matmul", "ceiling: copy"


def make_probes(dtype: str) -> dict[str, Call]:
    """A matrix product and a copy, to take turns with the contenders."""
    generator = torch.Generator().manual_seed(2)
    side = (_MATMUL_SIDE, _MATMUL_SIDE)
    a, b = (
        torch.rand(side, generator=generator).sub(0.5).to(getattr(torch, dtype)) for _ in range(2)
    )
    product = torch.empty_like(a)
    source = torch.rand(_COPY_BYTES // 4, generator=generator)
    target = torch.empty_like(source)
    return {
        MATMUL: lambda: torch.matmul(a, b, out=product),
        COPY: lambda: target.copy_(source),
    }


def from_times(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The best rates seen, from the probes' seconds: GFLOP/s, and GB/s read plus written."""
    return {
        "matmul_gflops": 2 * _MATMUL_SIDE**3 / min(times[MATMUL]) / 1e9,
        "copy_gb_per_s": 2 * _COPY_BYTES / min(times[COPY]) / 1e9,
    }


def floor_ms(case: Case, dtype: str, ceilings: Mapping[str, float]) -> float:
    """What the direct convolutions' products, or the bytes, take at those rates."""
    size: int = getattr(torch, dtype).itemsize
    compute = case.flop / (1e9 * ceilings["matmul_gflops"])
    memory = size * case.values / (1e9 * ceilings["copy_gb_per_s"])
    return 1e3 * max(compute, memory)


def add(entry: dict[str, Any], case: Case, dtype: str, ceilings: dict[str, float]) -> None:
    """Puts the ceilings, the floor and everyone's share of it into a case's entry of the JSON."""
    entry["ceilings"] = ceilings
    entry["floor_ms"] = floor_ms(case, dtype, ceilings)
    for contender in entry["contenders"]:
        if contender["status"] == "ok":
            contender["share_of_floor"] = entry["floor_ms"] / contender["median_ms"]
