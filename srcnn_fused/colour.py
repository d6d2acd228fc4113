"""RGB <-> YCbCr as MATLAB's ``rgb2ycbcr`` and ``ycbcr2rgb`` define it: the luma SRCNN trains on.

The matrix is ITU-R BT.601 in studio swing, written for R'G'B' in [0, 1] (Poynton, *A Technical
Introduction to Digital Video*, 1996, chapter 9, the reference that MATLAB's documentation names):
Y' spans [16, 235], Cb and Cr span [16, 240], out of 255. Full-range JPEG YCbCr spreads luma over
[0, 255] instead; a network trained on one sees the wrong contrast and mean when fed the other.

All functions take the colour channels in dimension -3 (``[..., 3, H, W]``). Floating point goes in
and comes out in units of 255 (so luma lies in [16/255, 235/255]), differentiable and unclipped: a
value that overshoots is clipped once, by whoever writes the pixels. uint8 goes in and comes out
rounded to 8 bits, as MATLAB does for uint8 images; the papers measure PSNR on that rounded luma.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["YCBCR_TO_RGB", "luma", "rgb_to_ycbcr", "ycbcr_to_rgb"]

# rgb2ycbcr.m: rows Y, Cb, Cr; columns R, G, B in [0, 1]; results, offset added, in [0, 255].
_RGB_TO_YCBCR = (
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
_OFFSET = (16.0, 128.0, 128.0)
# ycbcr2rgb.m inverts the matrix in double precision rather than quoting rounded constants.
_INVERSE = np.linalg.inv(np.array(_RGB_TO_YCBCR))
# R', G', B' in [0, 1] from Y', Cb, Cr in units of 255: weights, and a number to add.
YCBCR_TO_RGB: list[tuple[list[float], float]] = [
    ((255 * row).tolist(), -float(row @ np.array(_OFFSET))) for row in _INVERSE
]


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Convert R'G'B' to Y'CbCr as MATLAB's ``rgb2ycbcr`` does.

    Args:
        rgb: ``[..., 3, H, W]``, floating point in [0, 1] or uint8.

    Returns:
        ``[..., 3, H, W]`` of the same dtype: floating point in units of 255, or uint8 rounded.

    Raises:
        ValueError: ``rgb`` has not three channels in dimension -3, or is neither float nor uint8.

    >>> rgb_to_ycbcr(torch.ones(3, 1, 1)).flatten() * 255
    tensor([235., 128., 128.])
    """
    _check("rgb", rgb)
    return torch.stack([_forward_row(rgb, row) for row in range(3)], dim=-3)


def luma(rgb: Tensor) -> Tensor:
    """Y' alone of :func:`rgb_to_ycbcr`: ``[..., 3, H, W]`` -> ``[..., 1, H, W]``, same units.

    uint8 gives the papers' test luma: rounded to 8 bits.
    """
    _check("rgb", rgb)
    return _forward_row(rgb, 0).unsqueeze(-3)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """Convert Y'CbCr to R'G'B': the inverse of :func:`rgb_to_ycbcr`.

    Args:
        ycbcr: ``[..., 3, H, W]``, floating point in units of 255 or uint8.

    Returns:
        ``[..., 3, H, W]`` of the same dtype. Floating point is not clipped to [0, 1] (MATLAB's
        ``ycbcr2rgb`` clips); uint8 is rounded and saturates.

    Raises:
        ValueError: as :func:`rgb_to_ycbcr`.
    """
    _check("ycbcr", ycbcr)
    as_uint8 = ycbcr.dtype == torch.uint8
    source = ycbcr.to(torch.float64) / 255 if as_uint8 else ycbcr
    channels = [_combine(source, weights, offset) for weights, offset in YCBCR_TO_RGB]
    return torch.stack([_to_uint8(255 * c) if as_uint8 else c for c in channels], dim=-3)


def _forward_row(rgb: Tensor, row: int) -> Tensor:
    """One of Y', Cb, Cr: ``[..., 3, H, W]`` -> ``[..., H, W]``."""
    weights, offset = _RGB_TO_YCBCR[row], _OFFSET[row]
    if rgb.dtype == torch.uint8:
        return _to_uint8(_combine(rgb.to(torch.float64) / 255, weights, offset))
    return _combine(rgb, [weight / 255 for weight in weights], offset / 255)


def _combine(channels: Tensor, weights: Sequence[float], offset: float) -> Tensor:
    """Weighted sum of three channels and a number, without temporaries of the image's size."""
    total = channels.select(-3, 0) * weights[0]
    total.add_(channels.select(-3, 1), alpha=weights[1])
    total.add_(channels.select(-3, 2), alpha=weights[2])
    return total.add_(offset)


def _to_uint8(value: Tensor) -> Tensor:
    """Round half up: differs from MATLAB's half away from zero only below 0, which saturates."""
    return (value + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _check(name: str, value: Tensor) -> None:
    if value.dim() < 3 or value.shape[-3] != 3:
        raise ValueError(f"{name} must be [..., 3, H, W], got {list(value.shape)}")
    if not (value.is_floating_point() or value.dtype == torch.uint8):
        raise ValueError(f"{name} must be floating point in [0, 1] or uint8, got {value.dtype}")
