"""Autocast and the TF32 switch on a GPU, where PyTorch's own convolutions show what is expected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from srcnn_fused import FusedSRCNN, functional, reference

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("extension", "cuda")]

TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 2e-2}


@pytest.fixture
def precision() -> Iterator[None]:
    before = torch.backends.cudnn.conv.fp32_precision
    yield
    torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_autocast_gives_the_dtypes_of_three_conv2d(backend: str, dtype: torch.dtype) -> None:
    model = FusedSRCNN(kernel_sizes=(9, 3, 5), backend=backend).cuda()
    plain = nn.Sequential(model.conv1, nn.ReLU(), model.conv2, nn.ReLU(), model.conv3)
    x = torch.rand(2, 1, 24, 20, device="cuda")
    with torch.autocast("cuda", dtype):
        actual, expected = model(x), plain(x)
    assert actual.dtype == expected.dtype == dtype
    exact = plain.double()(x.double())
    torch.testing.assert_close(actual.double(), exact, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_come_back_in_the_dtype_of_the_parameters(dtype: torch.dtype) -> None:
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2, backend="fused").cuda()
    x = torch.rand(2, 1, 12, 10, device="cuda", requires_grad=True)
    with torch.autocast("cuda", dtype):
        loss = model(x).float().square().mean()
    loss.backward()
    in_autocast = [p.grad for p in (x, *model.parameters())]
    assert {grad.dtype for grad in in_autocast} == {torch.float32}
    exact = [p.detach().double().requires_grad_() for p in (x, *model.parameters())]
    reference.srcnn(*exact, scale=2).square().mean().backward()
    for ours, theirs in zip(in_autocast, exact, strict=True):
        error = (ours.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < 10 * TOLERANCE[dtype]


def test_without_tf32_the_result_is_exact_and_with_it_as_good_as_tf32(precision: None) -> None:
    model = FusedSRCNN(kernel_sizes=(9, 5, 5)).cuda()
    parameters = [p.detach() for p in model.parameters()]
    x = torch.rand(1, 1, 40, 50, device="cuda")
    exact = reference.srcnn(x.double(), *(p.double() for p in parameters))
    for switch, tolerance in (("ieee", 1e-5), ("tf32", 2e-3)):
        torch.backends.cudnn.conv.fp32_precision = switch
        actual = functional.srcnn(x, *parameters, backend="fused")
        torch.testing.assert_close(actual.double(), exact, rtol=0, atol=tolerance)
