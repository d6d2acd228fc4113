"""One forward of every contender and network: `pytest bench --benchmark-only`.

Outputs are compared with float64 before anything is timed. Contenders run one after the other here,
so a ratio to publish comes from `python -m bench.compare`, which takes turns.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from srcnn_fused.benchmark.cases import NETWORKS, Case, Reference
from srcnn_fused.benchmark.peers import CONTENDERS, Setup, Unavailable

pytest.importorskip("pytest_benchmark", reason="pip install '.[bench]' brings it")

_references: dict[str, Reference] = {}


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_forward_at_960x540(benchmark: Any, network: str, name: str) -> None:
    case = Case(network, 960, 540)
    layers, x = case.make_network(), case.make_input()
    try:
        forward = CONTENDERS[name](Setup(layers, x, case.scale, torch.get_num_threads()))
    except Unavailable as error:
        pytest.skip(str(error))
    if network not in _references:
        _references[network] = Reference(case, layers, x)
    benchmark.group = f"{network}, 960x540, float32, {torch.get_num_threads()} threads"
    benchmark.extra_info["max_error"] = _references[network].max_error(forward(x))
    benchmark.extra_info["flop"] = case.flop
    benchmark.pedantic(forward, args=(x,), rounds=9, warmup_rounds=2)
