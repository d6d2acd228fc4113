"""One training step of every contender: `pytest bench/test_training.py`.

Gradients are compared with float64 before anything is timed. Contenders run one after the other
here; `python -m bench.train` takes turns.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from bench import training
from bench.train import parse_batch
from srcnn_fused.benchmark.cases import NETWORKS
from srcnn_fused.benchmark.peers import Unavailable

pytest.importorskip("pytest_benchmark", reason="pip install '.[bench]' brings it")

BATCHES = ("16x33", pytest.param("4x256", marks=pytest.mark.slow))

_reference = functools.cache(training.Reference)


@pytest.mark.parametrize("peer", training.CONTENDERS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("network", NETWORKS)
def test_step(benchmark: Any, network: str, batch: str, peer: str) -> None:
    case = training.TrainingCase(network, *parse_batch(batch))
    try:
        contender = training.build(peer, case)
    except Unavailable as error:
        pytest.skip(str(error))
    images = case.make_images()
    contender.step(*images)
    benchmark.group = f"{network}, step of {batch}, {torch.get_num_threads()} threads"
    benchmark.extra_info["max_error"] = _reference(case).max_error(contender.parameters)
    benchmark.extra_info["flop"] = case.flop
    benchmark.pedantic(contender.step, args=images, rounds=9, warmup_rounds=2)
