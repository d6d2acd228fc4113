"""One training step of FusedSRCNN, plain and exact, for the tests of what may surround it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sample_inputs import KERNEL2, Case, decisive_seed
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from srcnn_fused import FusedSRCNN

TABLE = [
    Case(kernel2, 1, "zeros", s, "matlab", (4, 7, 6)) for kernel2 in KERNEL2 for s in (None, 3)
]
TABLE.append(Case(1, 3, "replicate", 2, "pil", (4, 5, 6)))
SMALL, ENLARGED = TABLE[0], TABLE[3]

every_case = pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)


def setup(
    case: Case, backend: str = "fused", dtype: torch.dtype = torch.float32
) -> tuple[FusedSRCNN, Tensor, Tensor]:
    """The case's model, images and target; the same values every time."""
    x, *parameters = case.tensors(torch.float32, decisive_seed(case))
    model = FusedSRCNN(
        case.channels, kernel_sizes=(9, case.kernel2, 5), backend=backend, **case.options
    )
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), parameters, strict=True):
            parameter.copy_(value)
    n, height, width = case.shape
    scale = case.scale or 1
    generator = torch.Generator().manual_seed(7)
    target = torch.rand(n, case.channels, scale * height, scale * width, generator=generator)
    return model.to(dtype), x.to(dtype), target.to(dtype)


def loss_of(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(model(x), target)


def gradients(model: nn.Module) -> list[Tensor]:
    """Those of all parameters, which must be there."""
    found = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None for gradient in found)
    return found


def plain_gradients(case: Case, backend: str = "fused") -> list[Tensor]:
    model, x, target = setup(case, backend)
    loss_of(model, x, target).backward()
    return gradients(model)


@functools.cache
def exact_gradients(case: Case) -> list[Tensor]:
    """Of a plain step, in float64 by the reference."""
    model, x, target = setup(case, "reference", torch.float64)
    loss_of(model, x, target).backward()
    return gradients(model)


def assert_same_bits(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)


class FusedCalls(TorchDispatchMode):
    """Remembers the calls of the package's ops."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "srcnn_fused":
            self.calls.append((func.name().removeprefix("srcnn_fused::"), args))
        return func(*args, **(kwargs or {}))
