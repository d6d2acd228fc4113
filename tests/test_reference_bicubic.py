"""The reference's bicubic against the libraries whose convention it names, and against MATLAB's
documented algorithm, written out a second time in NumPy below."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sample_inputs import CONVENTIONS
from torch import Tensor

from srcnn_fused import reference
from srcnn_fused.reference import bicubic_resize

SHAPES = ((1, 1), (1, 7), (2, 3), (5, 4), (13, 17), (32, 31), (64, 9))
SIZES = ((1, 1), (7, 5), (40, 41), (3, 64), (9, 9), (100, 3), (5, 2), (50, 8))
SCALES = (1 / 3, 0.5, 0.25, 2, 3, 4, 1, 1.5, 0.7, math.pi, (0.5, 2), (2, 0.5), (3, 1.3), 0.1)


# --- MATLAB: imresize(image, scale or size, 'bicubic'), step by step and 1-based ------------------


def imresize(
    image: NDArray[np.float64] | NDArray[np.uint8],
    scale: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.float64]:
    if size is None:
        assert scale is not None
        size = tuple(math.ceil(s * n) for s, n in zip(scale, image.shape, strict=True))
    else:
        scale = tuple(o / n for o, n in zip(size, image.shape, strict=True))
    out = image.astype(np.float64)
    for axis in np.argsort(scale, kind="stable"):
        weights, indices = contributions(out.shape[axis], size[axis], scale[axis])
        taps = np.moveaxis(out, axis, 0)[indices - 1]
        out = np.moveaxis(np.einsum("op,op...->o...", weights, taps), 0, axis)
        if image.dtype == np.uint8:
            out = np.clip(np.floor(np.abs(out) + 0.5) * np.sign(out), 0, 255)
    return out


def contributions(
    in_length: int, out_length: int, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    stretch = min(scale, 1.0)
    kernel_width = 4 / stretch
    u = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(u - kernel_width / 2)
    indices = left[:, None] + np.arange(math.ceil(kernel_width) + 2)
    weights = stretch * cubic(stretch * (u[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(1, in_length + 1), np.arange(in_length, 0, -1)])
    return weights, mirror[np.mod(indices - 1, mirror.size).astype(int)]


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def pair(scale: float | tuple[float, float]) -> tuple[float, float]:
    return scale if isinstance(scale, tuple) else (scale, scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_matlab_equals_imresize_by_scale(
    shape: tuple[int, int], scale: float | tuple[float, float]
) -> None:
    x = torch.rand(shape, dtype=torch.float64)
    expected = imresize(x.numpy(), scale=pair(scale))
    torch.testing.assert_close(
        bicubic_resize(x, scale=scale), torch.from_numpy(expected), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matlab_equals_imresize_by_size(shape: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.rand(shape, dtype=torch.float64)
    expected = imresize(x.numpy(), size=size)
    torch.testing.assert_close(
        bicubic_resize(x, size=size), torch.from_numpy(expected), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("scale", [0.5, 2, 4, 0.25, (0.5, 2), (2, 0.5), 1], ids=str)
def test_matlab_uint8_rounds_and_clips_after_each_axis(scale: float | tuple[float, float]) -> None:
    # Powers of two, whose weights and sums are exact: even a tie must round as MATLAB rounds it.
    x = torch.randint(0, 256, (33, 26), dtype=torch.uint8)
    actual = bicubic_resize(x, scale=scale)
    assert actual.dtype == torch.uint8
    np.testing.assert_array_equal(actual.numpy(), imresize(x.numpy(), scale=pair(scale)))


def test_matlab_uint8_differs_from_rounding_once_at_the_end() -> None:
    x = torch.randint(0, 256, (40, 40), dtype=torch.uint8)
    once = bicubic_resize(x.double(), scale=3).round().clamp(0, 255).to(torch.uint8)
    assert not torch.equal(bicubic_resize(x, scale=3), once)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_published_bicubic_scores_come_out(convention: str, image_sets: Path) -> None:
    """Set5 x3 is 30.39 dB with imresize, which is how the papers did it, and with nothing else."""
    scores = []
    for file in sorted((image_sets / "Set5").glob("*.png")):
        rgb = np.asarray(Image.open(file).convert("RGB"), dtype=np.float64) / 255
        luma = np.floor(rgb @ [65.481, 128.553, 24.966] + 16.5)
        luma = luma[: luma.shape[0] // 3 * 3, : luma.shape[1] // 3 * 3]
        low = bicubic_resize(torch.from_numpy(luma), scale=1 / 3, convention=convention)
        high = bicubic_resize(low, scale=3, convention=convention)
        difference = (high + 0.5).floor().clamp(0, 255).numpy() - luma
        mse = np.mean(difference[3:-3, 3:-3] ** 2)
        scores.append(10 * math.log10(255**2 / mse))
    assert (abs(np.mean(scores) - 30.39) < 0.01) == (convention != "torch")


# --- Pillow and PyTorch ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pil_equals_pillow_on_mode_f(shape: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.rand(shape)
    pillow = Image.fromarray(x.numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    actual = bicubic_resize(x, size=size, convention="pil")
    np.testing.assert_allclose(actual.numpy(), np.asarray(pillow), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pil_uint8_equals_pillow_bit_for_bit(shape: tuple[int, int], size: tuple[int, int]) -> None:
    fewer_rows, fewer_columns = shape[0] - size[0], shape[1] - size[1]
    rows_first = fewer_rows > 0 and fewer_rows > 2 * fewer_columns
    if rows_first and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip(f"Pillow {PIL.__version__} never shrinks rows first, as 13 does here")
    x = torch.randint(0, 256, shape, dtype=torch.uint8)
    pillow = Image.fromarray(x.numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    actual = bicubic_resize(x, size=size, convention="pil")
    assert actual.dtype == torch.uint8
    np.testing.assert_array_equal(actual.numpy(), np.asarray(pillow))


def interpolate(x: Tensor, convention: str, **kwargs: object) -> Tensor:
    return F.interpolate(x, mode="bicubic", antialias=convention == "pil", **kwargs)


@pytest.mark.parametrize("convention", ["pil", "torch"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pil_and_torch_equal_interpolate_by_size(
    convention: str, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    # F.interpolate(antialias=True) mixes up the rows of images that become one column wide.
    size = (size[0], max(size[1], 2)) if convention == "pil" else size
    x = torch.rand((2, 3, *shape), dtype=torch.float64)
    torch.testing.assert_close(
        bicubic_resize(x, size=size, convention=convention),
        interpolate(x, convention, size=size),
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize("convention", ["pil", "torch"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_pil_and_torch_equal_interpolate_by_scale(
    convention: str, scale: float | tuple[float, float]
) -> None:
    # The scale enters as given: 37 * 0.7 is not a whole number, so out / in would differ.
    x = torch.rand((1, 1, 37, 41), dtype=torch.float64)
    torch.testing.assert_close(
        bicubic_resize(x, scale=scale, convention=convention),
        interpolate(x, convention, scale_factor=pair(scale)),
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("size", [(40, 41), (7, 5), (13, 60)], ids=str)
def test_torch_uint8_equals_interpolate(channels: int, size: tuple[int, int]) -> None:
    x = torch.randint(0, 256, (2, channels, 13, 17), dtype=torch.uint8)
    actual = bicubic_resize(x, size=size, convention="torch")
    assert torch.equal(actual, interpolate(x, "torch", size=size))
    unbatched = bicubic_resize(x[0], size=size, convention="torch")
    assert torch.equal(unbatched, interpolate(x[:1], "torch", size=size)[0])


# --- What all conventions share -------------------------------------------------------------------


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16], ids=str)
def test_scale_one_copies(convention: str, dtype: torch.dtype) -> None:
    x = (torch.rand(1, 2, 5, 4) * 200).to(dtype)
    same = bicubic_resize(x, scale=1, convention=convention)
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()


@pytest.mark.parametrize(
    ("convention", "expected"), [("matlab", (4, 3)), ("pil", (3, 2)), ("torch", (3, 2))]
)
def test_the_size_from_a_scale(convention: str, expected: tuple[int, int]) -> None:
    assert bicubic_resize(torch.rand(7, 5), scale=0.5, convention=convention).shape == expected
    assert bicubic_resize(torch.rand(2, 2), scale=0.1, convention=convention).shape == (1, 1)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("kwargs", [{"scale": 2}, {"scale": 0.4}, {"size": (3, 9)}], ids=str)
def test_bicubic_is_differentiable_twice(convention: str, kwargs: dict[str, object]) -> None:
    x = torch.rand(2, 1, 5, 4, dtype=torch.float64, requires_grad=True)

    def resize(t: Tensor) -> Tensor:
        return bicubic_resize(t, convention=convention, **kwargs)

    assert torch.autograd.gradcheck(resize, (x,))
    assert torch.autograd.gradgradcheck(resize, (x,))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.4, 1.3), (1.0, 1.0)], ids=str)
def test_bicubic_backward_is_the_transpose(convention: str, scales: tuple[float, float]) -> None:
    x = torch.rand(2, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    y = bicubic_resize(x, scale=scales, convention=convention)
    grad_output = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, grad_output)
    actual = reference.bicubic_resize_backward(grad_output, 5, 4, *scales, convention)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_every_float_dtype_is_rounded_once(convention: str, dtype: torch.dtype) -> None:
    x = torch.rand(1, 1, 12, 13).to(dtype)
    actual = bicubic_resize(x, scale=1.7, convention=convention)
    exact = bicubic_resize(x.double(), scale=1.7, convention=convention)
    assert actual.dtype == dtype
    bound = 4e-7 + torch.finfo(dtype).eps / 2 * exact.abs()
    assert ((actual.double() - exact).abs() <= bound).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_rank_two_three_and_four_agree(convention: str) -> None:
    x = torch.rand(1, 1, 6, 5)
    four = bicubic_resize(x, scale=2, convention=convention)
    assert torch.equal(bicubic_resize(x[0], scale=2, convention=convention), four[0])
    assert torch.equal(bicubic_resize(x[0, 0], scale=2, convention=convention), four[0, 0])


def test_a_constant_stays_constant() -> None:
    x = torch.full((5, 7), 0.3, dtype=torch.float64)
    for convention in CONVENTIONS:
        for scale in (0.37, 2, 3.3):
            y = bicubic_resize(x, scale=scale, convention=convention)
            torch.testing.assert_close(y, torch.full_like(y, 0.3), rtol=0, atol=1e-14)
