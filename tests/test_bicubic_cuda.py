"""bicubic_resize on a GPU: against float64 in every dtype and convention, and 8-bit images."""

from __future__ import annotations

import warnings

import pytest
import torch
from sample_inputs import CONVENTIONS, LAYOUTS, image

from srcnn_fused import functional, reference

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("extension", "cuda")]

# Sums are float32; what is left is the rounding of the result, which may go beyond [0, 1] a little.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2**-11 + 2e-6, torch.bfloat16: 2**-8 + 2e-6}

# (input, output): below the window, odd, around tiles of 16 to 256, up, down, both.
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (7, 9)),
    ((3, 2), (1, 1)),
    ((5, 7), (5, 7)),
    ((5, 7), (5, 20)),
    ((13, 17), (39, 51)),
    *(((n, n), (2 * n, 2 * n)) for n in (31, 32, 33, 127, 128, 129)),
    *(((3 * n, 3 * n), (n, n)) for n in (31, 32, 33, 64)),
    ((100, 37), (41, 90)),
    ((37, 100), (90, 41)),
    ((1000, 1500), (10, 15)),
    ((2000, 5), (3, 400)),
]


def check(x: torch.Tensor, tolerance: float, backend: str = "fused", **options: object) -> None:
    expected = reference.bicubic_resize(x.double(), **options)
    actual = functional.bicubic_resize(x.cuda(), **options, backend=backend)
    assert actual.dtype == x.dtype
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_equals_the_float64_reference(
    sizes: tuple[tuple[int, int], tuple[int, int]], convention: str, dtype: torch.dtype
) -> None:
    (height, width), size = sizes
    x = torch.rand(2, 3, height, width).to(dtype)
    check(x, TOLERANCE[dtype], size=size, convention=convention)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_small_images_run_under_a_sanitizer(convention: str) -> None:
    for dtype, tolerance in TOLERANCE.items():
        for scale in ((2, 3), (0.3, 1.7), (0.05, 0.02)):
            check(torch.rand(1, 2, 60, 70).to(dtype), tolerance, scale=scale, convention=convention)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [2.5, 0.4])
def test_any_strides(layout: str, scale: float) -> None:
    check(image((2, 3, 20, 35), layout), TOLERANCE[torch.float32], scale=scale)


@pytest.mark.parametrize("scale", [0.01, 0.003])
def test_strong_shrinking(scale: float) -> None:
    for convention in CONVENTIONS:
        check(torch.rand(1, 1, 2160, 3840), 1e-5, scale=scale, convention=convention)


def test_more_planes_than_a_grid_has_rows() -> None:
    check(torch.rand(70_000, 1, 3, 2), TOLERANCE[torch.float32], scale=2)


@pytest.mark.slow
def test_more_than_two_to_the_31_elements() -> None:
    free, _ = torch.cuda.mem_get_info()
    height, width = 2**16 + 3, 2**15 + 1
    if free < 2.5 * 2 * height * width:
        pytest.skip("needs 11 GiB of free GPU memory")
    x = torch.rand(1, 1, height // 2 + 1, width // 2 + 1, dtype=torch.float16, device="cuda")
    out = functional.bicubic_resize(x, size=(height, width), backend="fused")
    # The last rows, whose offsets need 32 bits, by definition: the last samples, widened, and then
    # the four of each window.
    window = x[:, :, -20:].cpu().double()
    u = (torch.arange(height - 9, height, dtype=torch.float64) + 0.5) / (height / x.shape[2]) - 0.5
    wide = reference.resize_to(window, 20, width, 1.0, width / x.shape[3], "matlab")[0, 0]
    for row, center in zip(range(height - 9, height), u, strict=True):
        first = int(torch.floor(center - 2)) + 1
        j = torch.arange(first, first + 4)
        weights = reference.keys_cubic(center - j, -0.5)
        inside = torch.where(j >= x.shape[2], 2 * x.shape[2] - 1 - j, j) - (x.shape[2] - 20)
        line = (wide[inside] * weights[:, None]).sum(0)
        actual = out[0, 0, row].cpu().double()
        torch.testing.assert_close(actual, line, rtol=0, atol=TOLERANCE[torch.float16])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scale", [3, 0.37])
def test_8_bit_images_round_as_on_the_cpu(scale: float, convention: str, channels: int) -> None:
    x = torch.randint(0, 256, (channels, 41, 33), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = functional.bicubic_resize(x.cuda(), scale=scale, convention=convention)
    assert actual.is_cuda
    assert torch.equal(
        actual.cpu(), functional.bicubic_resize(x, scale=scale, convention=convention)
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_equal_the_cpu_ones(dtype: torch.dtype) -> None:
    x = torch.rand(1, 2, 9, 11).to(dtype)
    grad_output = torch.rand(1, 2, 20, 7).to(dtype)
    on_gpu = x.cuda().requires_grad_()
    out = functional.bicubic_resize(on_gpu, size=(20, 7), backend="fused")
    (actual,) = torch.autograd.grad(out, on_gpu, grad_output.cuda())
    exact = x.double().requires_grad_()
    reference_out = reference.bicubic_resize(exact, size=(20, 7))
    (expected,) = torch.autograd.grad(reference_out, exact, grad_output.double())
    assert actual.dtype == dtype
    torch.testing.assert_close(
        actual.cpu().double(), expected, rtol=2 * TOLERANCE[dtype], atol=1e-5
    )


def test_the_current_stream_and_a_captured_graph() -> None:
    x = torch.rand(1, 3, 50, 40, device="cuda")
    expected = functional.bicubic_resize(x, scale=0.5, backend="fused")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        actual = functional.bicubic_resize(x * 1, scale=0.5, backend="fused")
    stream.synchronize()
    assert torch.equal(actual, expected)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = functional.bicubic_resize(x, scale=0.5, backend="fused")
    actual.zero_()
    graph.replay()
    assert torch.equal(actual, expected)
