"""Image quality: PSNR, SSIM and MS-SSIM of one image, or a batch, against the truth.

All take ``[H, W]``, ``[C, H, W]`` or ``[N, C, H, W]`` of equal shape (uint8, where 255 is white, or
floating point, where ``data_range`` is white), compute in float64, and return a Python float. What
is done to an image before, and how much it matters: docs/evaluation.md.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MS_SSIM_MIN_SIDE", "SSIM_MIN_SIDE", "ms_ssim", "psnr", "ssim"]

SSIM_MIN_SIDE = 11
_HALF = SSIM_MIN_SIDE // 2
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
# Wang et al. 2003, from the finest scale to the coarsest; they add up to 1.
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Four halvings must leave a window.
MS_SSIM_MIN_SIDE = SSIM_MIN_SIDE * 2 ** (len(_EXPONENTS) - 1)


def psnr(prediction: Tensor, target: Tensor, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB: ``10 log10(data_range^2 / MSE)``; inf for equal images.

    Args:
        prediction: ``[..., H, W]``, uint8 or floating point.
        target: the same shape.
        data_range: white. Left out: 255 for uint8, 1 for floating point.

    Raises:
        ValueError: the shapes differ, the tensors are empty, or ``data_range`` is not positive.

    >>> round(psnr(torch.zeros(8, 8), torch.full((8, 8), 0.1)), 3)
    20.0
    """
    a, b, peak = _prepare(prediction, target, data_range)
    mse = (a - b).square().mean().item()
    return math.inf if mse == 0 else 10 * math.log10(peak * peak / mse)


def ssim(prediction: Tensor, target: Tensor, *, data_range: float | None = None) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11x11, sigma 1.5, K = 0.01, 0.03.

    Arguments and errors as :func:`psnr`; images under 11 pixels a side are an error too. The
    window stays inside the image, as in the authors' ``ssim_index.m``.
    """
    a, b, peak = _prepare(prediction, target, data_range)
    _need_side("ssim", a, SSIM_MIN_SIDE)
    luminance, contrast = _ssim_terms(a, b, peak)
    return (luminance * contrast).mean().item()


def ms_ssim(prediction: Tensor, target: Tensor, *, data_range: float | None = None) -> float:
    """Multi-scale SSIM (Wang et al. 2003): five scales, the paper's exponents.

    Arguments and errors as :func:`psnr`; images under :data:`MS_SSIM_MIN_SIDE` pixels a side, which
    have no fifth scale, are an error too. A scale is the mean of 2x2 pixels of the one before, an
    odd row or column being dropped. Negative terms count as 0. As in torchmetrics (with
    ``normalize="relu"``), windows reach over the edge at the last scale, onto mirrored pixels.
    """
    a, b, peak = _prepare(prediction, target, data_range)
    _need_side("ms_ssim", a, MS_SSIM_MIN_SIDE)
    product = torch.ones(len(a), dtype=a.dtype, device=a.device)  # [N]
    for exponent in _EXPONENTS[:-1]:
        _, contrast = _ssim_terms(a, b, peak)
        product *= contrast.mean((1, 2, 3)).clamp(min=0) ** exponent
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    a, b = (F.pad(image, (_HALF,) * 4, mode="reflect") for image in (a, b))
    luminance, contrast = _ssim_terms(a, b, peak)
    product *= (luminance * contrast).mean((1, 2, 3)).clamp(min=0) ** _EXPONENTS[-1]
    return product.mean().item()


def _ssim_terms(a: Tensor, b: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure of every window inside: [N, C, H, W] -> [.., H-10, W-10]."""
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    mean_a, mean_b, mean_squares, mean_product = _blur(torch.stack([a, b, a * a + b * b, a * b]))
    square_a, square_b, product = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    variances = mean_squares - square_a - square_b
    covariance = mean_product - product
    return (
        (2 * product + c1) / (square_a + square_b + c1),
        (2 * covariance + c2) / (variances + c2),
    )


def _blur(x: Tensor) -> Tensor:
    """Gaussian of 11x11 inside the image, rows and columns in turn: [..., H, W] -> [.., H-10, W-10]

    Sums of shifted views: torch has no fast float64 convolution on the CPU, and takes ten times as
    long.
    """
    taps = [math.exp(-(t * t) / (2 * _SIGMA * _SIGMA)) for t in range(-_HALF, _HALF + 1)]
    total = math.fsum(taps)
    for dim in (-1, -2):
        length = x.shape[dim] - 2 * _HALF
        result = x.narrow(dim, 0, length) * (taps[0] / total)
        for start, tap in enumerate(taps[1:], 1):
            result.add_(x.narrow(dim, start, length), alpha=tap / total)
        x = result
    return x


def _prepare(
    prediction: Tensor, target: Tensor, data_range: float | None
) -> tuple[Tensor, Tensor, float]:
    """Both as float64 [N, C, H, W], and white."""
    if prediction.shape != target.shape:
        raise ValueError(
            "prediction and target must have the same shape, "
            f"got {list(prediction.shape)} and {list(target.shape)}"
        )
    if not 2 <= prediction.dim() <= 4:
        raise ValueError(
            f"prediction must be [H, W], [C, H, W] or [N, C, H, W], got {list(prediction.shape)}"
        )
    if prediction.numel() == 0:
        raise ValueError(f"prediction must not be empty, got {list(prediction.shape)}")
    if data_range is None:
        if prediction.dtype != target.dtype:
            raise ValueError(
                "data_range must be given for two dtypes, "
                f"got {prediction.dtype} and {target.dtype}"
            )
        data_range = 255.0 if target.dtype == torch.uint8 else 1.0
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}")
    shape = (1,) * (4 - prediction.dim()) + tuple(prediction.shape)
    a, b = (t.detach().to(torch.float64).reshape(shape) for t in (prediction, target))
    return a, b, data_range


def _need_side(name: str, image: Tensor, side: int) -> None:
    if min(image.shape[-2:]) < side:
        raise ValueError(
            f"{name} needs images of at least {side}x{side} pixels, "
            f"got {image.shape[-1]}x{image.shape[-2]}"
        )
