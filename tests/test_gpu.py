"""Which GPU a build serves, on tables of architectures and compute capabilities."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from srcnn_fused import _gpu

ALL = "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"


@pytest.mark.parametrize(
    ("architectures", "capability", "expected"),
    [
        # The default build, from Turing on, and GPUs that do not exist yet.
        *((ALL, c, True) for c in [(7, 5), (8, 0), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3)]),
        *((ALL, c, True) for c in [(12, 0), (12, 1), (13, 0)]),
        *((ALL, c, False) for c in [(5, 2), (7, 0), (7, 2), (11, 0)]),
        # Machine code: the same major version, and no lower a minor one.
        ("8.0", (8, 0), True),
        ("8.0", (8, 6), True),
        ("8.0", (8, 9), True),
        ("8.6", (8, 0), False),
        ("8.9", (8, 6), False),
        ("8.0", (9, 0), False),
        ("9.0", (8, 9), False),
        # PTX: every later GPU.
        ("8.0+PTX", (9, 0), True),
        ("8.0+PTX", (12, 1), True),
        ("8.6+PTX", (8, 0), False),
        ("8.6+PTX", (7, 5), False),
        # What is made for one chip runs on that chip, or its family.
        ("9.0a", (9, 0), True),
        ("9.0a", (10, 0), False),
        ("9.0a+PTX", (10, 0), False),
        ("10.0a", (10, 0), True),
        ("10.0a", (10, 3), False),
        ("10.0f", (10, 3), True),
        ("10.0f+PTX", (12, 0), False),
        ("12.0f", (12, 1), True),
        # Lists as people write them.
        ("7.5 8.6", (8, 6), True),
        ("7.5, 8.6", (8, 9), True),
        ("9.0;", (8, 0), False),
        ("none", (9, 0), False),
        ("", (9, 0), False),
        ("Hopper", (9, 0), True),
        ("7.5;Turing", (9, 0), True),
    ],
)
def test_a_build_serves(architectures: str, capability: tuple[int, int], expected: bool) -> None:
    assert _gpu.serves(architectures, capability) is expected


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two GPUs, the second of them current; gives the questions that were asked of torch."""
    asked: list[int] = []

    def capability(index: int) -> tuple[int, int]:
        asked.append(index)
        return ((7, 0), (9, 0))[index]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability)
    monkeypatch.setattr(_gpu, "built_architectures", lambda: "8.0;9.0")
    _gpu._capability.cache_clear()
    yield asked
    _gpu._capability.cache_clear()


def test_a_gpu_without_code_is_named_and_the_others_are_served(gpus: list[int]) -> None:
    assert _gpu.why_not_served(0) == (
        "this build has CUDA kernels for 8.0;9.0 and none for this GPU, which is sm_70; "
        "reinstall with TORCH_CUDA_ARCH_LIST=7.0"
    )
    assert _gpu.why_not_served(1) is None
    assert _gpu.why_not_served(None) is None


def test_torch_is_asked_once_per_gpu(gpus: list[int]) -> None:
    for _ in range(3):
        _gpu.why_not_served(0)
        _gpu.why_not_served(1)
    assert gpus == [0, 1]


def test_without_a_gpu_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _gpu.why_not_served(None) is None


def test_the_build_says_what_it_was_made_for(extension: None) -> None:
    architectures = _gpu.built_architectures()
    served = [c for c in product(range(7, 13), range(10)) if _gpu.serves(architectures, c)]
    assert (architectures == "none") == (not served)
