"""Fixtures for every test: determinism, the extension, instruction sets, algorithms, images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from srcnn_fused import _extension, functional, ops


def pytest_configure() -> None:
    """Workers of pytest-xdist (pytest -n 4) share the cores instead of each taking them all."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Fresh tensors are filled with NaN, which shows every element that a kernel left out."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: no reason for taking the reference has been given yet."""
    monkeypatch.setattr(functional, "_warned", set())


@pytest.fixture
def extension() -> None:
    """Skips where the extension was not built; SRCNN_FUSED_REQUIRE_EXTENSION=1 makes that fail."""
    if _extension.available():
        return
    reason = f"needs the compiled extension: {_extension.why_unavailable()}"
    if os.environ.get("SRCNN_FUSED_REQUIRE_EXTENSION") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def cuda() -> None:
    """Skips without GPU or CUDA kernels; SRCNN_FUSED_REQUIRE_CUDA=1 makes that fail."""
    if ("srcnn_forward", "cuda") not in ops.KERNELS:
        reason = "the extension was built without CUDA kernels"
    elif not torch.cuda.is_available():
        reason = "there is no CUDA GPU"
    else:
        return
    if os.environ.get("SRCNN_FUSED_REQUIRE_CUDA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=["avx512", "avx2", "generic"])
def isa(request: pytest.FixtureRequest, extension: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Forces each instruction set in turn; skips those that this machine cannot run."""
    name: str = request.param
    if name not in _extension.module().cpu_isas():
        pytest.skip(f"this machine cannot run {name}")
    monkeypatch.setenv("SRCNN_FUSED_CPU_ISA", name)
    return name


@pytest.fixture(params=["direct", "winograd"])
def algorithm(
    request: pytest.FixtureRequest, extension: None, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Forces each algorithm of the CPU forward in turn."""
    name: str = request.param
    monkeypatch.setenv("SRCNN_FUSED_CPU_ALGO", name)
    return name


@pytest.fixture
def image_sets() -> Path:
    """The folder that holds Set5 and Set14."""
    folder = os.environ.get("SRCNN_FUSED_DATA")
    if not folder:
        pytest.skip("SRCNN_FUSED_DATA does not name the folder with Set5 and Set14")
    return Path(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For images that are too small for more, or are to be cut as for one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def switches() -> Iterator[None]:
    """A GPU benchmark sets PyTorch's own, and has to put them back."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    yield
    assert (cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark) == before
