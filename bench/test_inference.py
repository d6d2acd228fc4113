"""One forward of every contender: `pytest bench --benchmark-group-by=param:network,param:size`.

Outputs are compared with float64 before anything is timed. Contenders run one after the other here,
so a ratio to publish comes from `python -m bench.compare`, which takes turns.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from srcnn_fused.benchmark.cases import NETWORKS, Case, Reference, parse_size
from srcnn_fused.benchmark.peers import CONTENDERS, Setup, Unavailable

pytest.importorskip("pytest_benchmark", reason="pip install '.[bench]' brings it")

SIZES = (
    "256x256",
    *(pytest.param(size, marks=pytest.mark.slow) for size in ("960x540", "1920x1080")),
)
DTYPES = ("float32", pytest.param("bfloat16", marks=pytest.mark.slow))


@functools.cache
def _prepared(case: Case, dtype: str) -> tuple[torch.nn.Sequential, torch.Tensor, Reference]:
    network = case.make_network().to(getattr(torch, dtype))
    x = case.make_input().to(getattr(torch, dtype))
    return network, x, Reference(case, network, x)


@pytest.mark.parametrize("peer", CONTENDERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("network", NETWORKS)
def test_forward(benchmark: Any, network: str, size: str, dtype: str, peer: str) -> None:
    case = Case(network, *parse_size(size))
    layers, x, reference = _prepared(case, dtype)
    try:
        forward = CONTENDERS[peer](Setup(layers, x, case.scale, torch.get_num_threads()))
    except Unavailable as error:
        pytest.skip(str(error))
    benchmark.group = f"{network}, {size}, {dtype}, {torch.get_num_threads()} threads"
    benchmark.extra_info["max_error"] = reference.max_error(forward(x))
    benchmark.extra_info["flop"] = case.flop
    benchmark.pedantic(forward, args=(x,), rounds=9, warmup_rounds=2)
