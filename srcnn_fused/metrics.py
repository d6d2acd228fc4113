"""Image quality: PSNR, SSIM and MS-SSIM of one image, or a batch, against the truth.

All take ``[H, W]``, ``[C, H, W]`` or ``[N, C, H, W]`` of equal shape (uint8, where 255 is white, or
floating point, where ``data_range`` is white), compute in float64, and return a Python float.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["MS_SSIM_MIN_SIDE", "SSIM_MIN_SIDE", "ms_ssim", "psnr", "ssim"]

SSIM_MIN_SIDE = 11
_MS_SSIM_SCALES = 5
# Four halvings must leave a window.
MS_SSIM_MIN_SIDE = SSIM_MIN_SIDE * 2 ** (_MS_SSIM_SCALES - 1)


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
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b, peak = _prepare(prediction, target, data_range)
    _need_side("ssim", a, SSIM_MIN_SIDE)
    _, indices = structural_similarity_index_measure(a, b, data_range=peak, return_full_image=True)
    # torchmetrics' own mean takes in windows that reach over the edge, onto mirrored pixels.
    half = SSIM_MIN_SIDE // 2
    return indices[..., half:-half, half:-half].mean().item()


def ms_ssim(prediction: Tensor, target: Tensor, *, data_range: float | None = None) -> float:
    """Multi-scale SSIM (Wang et al. 2003): five scales, the paper's exponents.

    Arguments and errors as :func:`psnr`; images under :data:`MS_SSIM_MIN_SIDE` pixels a side, which
    have no fifth scale, are an error too. Negative contrast terms count as 0. The value is
    torchmetrics', which at the last scale lets windows reach over the edge, onto mirrored pixels.
    """
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as measure,
    )

    a, b, peak = _prepare(prediction, target, data_range)
    _need_side("ms_ssim", a, MS_SSIM_MIN_SIDE)
    return measure(a, b, data_range=peak, normalize="relu").item()


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
