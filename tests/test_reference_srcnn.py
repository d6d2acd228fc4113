"""The reference SRCNN against nn.Conv2d and against its equations written out pixel by pixel."""

from __future__ import annotations

import itertools

import pytest
import torch
from sample_inputs import CONVENTIONS, PADDING_MODES, network
from torch import Tensor, nn

from srcnn_fused import reference

SMALL = ((3, 1, 3), (4, 3))  # kernel sizes and widths that gradcheck can afford


def small(channels: int = 2) -> list[Tensor]:
    return [p.double().requires_grad_() for p in network(channels, *SMALL)]


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("kernel2", [1, 3, 5])
def test_srcnn_equals_three_conv2d(kernel2: int, padding_mode: str) -> None:
    kernel_sizes = (9, kernel2, 5)
    parameters = [p.double() for p in network(1, kernel_sizes)]
    layers = []
    for index, kernel_size in enumerate(kernel_sizes):
        weight, bias = parameters[2 * index : 2 * index + 2]
        conv = nn.Conv2d(
            weight.shape[1],
            weight.shape[0],
            kernel_size,
            padding=kernel_size // 2,
            padding_mode=padding_mode,
        ).double()
        conv.load_state_dict({"weight": weight, "bias": bias})
        layers += [conv, nn.ReLU()]
    x = torch.rand(2, 1, 11, 13, dtype=torch.float64)
    expected = nn.Sequential(*layers[:-1])(x)
    actual = reference.srcnn(x, *parameters, padding_mode=padding_mode)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_srcnn_equals_the_equations(padding_mode: str) -> None:
    def layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out_channels, in_channels, size, _ = weight.shape
        _, height, width = x.shape
        out = torch.zeros(out_channels, height, width, dtype=x.dtype)
        for o, row, col in itertools.product(range(out_channels), range(height), range(width)):
            total = bias[o].item()
            for i, dy, dx in itertools.product(range(in_channels), range(size), range(size)):
                r, c = row + dy - size // 2, col + dx - size // 2
                if padding_mode == "replicate":
                    r, c = min(max(r, 0), height - 1), min(max(c, 0), width - 1)
                if 0 <= r < height and 0 <= c < width:
                    total += (weight[o, i, dy, dx] * x[i, r, c]).item()
            out[o, row, col] = total
        return out

    weight1, bias1, weight2, bias2, weight3, bias3 = (p.detach() for p in small())
    x = torch.rand(2, 3, 4, dtype=torch.float64)
    features1 = layer(x, weight1, bias1).clamp(min=0)
    features2 = layer(features1, weight2, bias2).clamp(min=0)
    expected = layer(features2, weight3, bias3)
    actual = reference.srcnn(
        x[None], weight1, bias1, weight2, bias2, weight3, bias3, padding_mode=padding_mode
    )[0]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("bicubic", CONVENTIONS)
def test_scale_enlarges_first(bicubic: str) -> None:
    parameters = network(3)
    x = torch.rand(1, 3, 5, 6)
    enlarged = reference.bicubic_resize(x, scale=3, convention=bicubic)
    assert torch.equal(
        reference.srcnn(x, *parameters, scale=3, bicubic=bicubic),
        reference.srcnn(enlarged, *parameters),
    )


@pytest.mark.parametrize("bicubic", CONVENTIONS)
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("scale", [None, 2])
def test_srcnn_is_differentiable(scale: int | None, padding_mode: str, bicubic: str) -> None:
    x = torch.rand(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)

    def forward(*tensors: Tensor) -> Tensor:
        return reference.srcnn(*tensors, scale=scale, bicubic=bicubic, padding_mode=padding_mode)

    assert torch.autograd.gradcheck(forward, (x, *small()), fast_mode=True)


@pytest.mark.parametrize("bicubic", CONVENTIONS)
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("scale", [None, 2])
@pytest.mark.parametrize("shape", [(2, 2, 5, 4), (0, 2, 3, 3), (1, 2, 1, 1)], ids=str)
def test_srcnn_backward_equals_autograd(
    shape: tuple[int, ...], scale: int | None, padding_mode: str, bicubic: str
) -> None:
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    tensors = (x, *small())
    options = {"scale": scale, "bicubic": bicubic, "padding_mode": padding_mode}
    y = reference.srcnn(*tensors, **options)
    grad_output = torch.randn_like(y)
    expected = torch.autograd.grad(y, tensors, grad_output)
    with torch.no_grad():
        actual = reference.srcnn_backward(grad_output, *tensors, **options)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_every_float_dtype_comes_out_as_it_went_in(dtype: torch.dtype) -> None:
    tensors = [t.to(dtype) for t in (torch.rand(1, 1, 9, 8), *network(1))]
    exact = reference.srcnn(*(t.double() for t in tensors), scale=2)
    actual = reference.srcnn(*tensors, scale=2)
    assert actual.dtype == dtype
    tolerance = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5}[dtype]
    torch.testing.assert_close(actual.double(), exact, rtol=0, atol=tolerance)
