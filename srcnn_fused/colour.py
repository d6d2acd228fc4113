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

import numpy as np
import torch
from torch import Tensor

__all__ = ["luma", "rgb_to_ycbcr", "ycbcr_to_rgb"]

# rgb2ycbcr.m: rows Y, Cb, Cr; columns R, G, B in [0, 1]; results, offset added, in [0, 255].
_RGB_TO_YCBCR = (
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
_OFFSET = (16.0, 128.0, 128.0)
# ycbcr2rgb.m inverts the matrix in double precision rather than quoting rounded constants.
_YCBCR_TO_RGB: list[list[float]] = np.linalg.inv(np.array(_RGB_TO_YCBCR)).tolist()


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
    source = ycbcr.to(torch.float64) / 255 if ycbcr.dtype == torch.uint8 else ycbcr
    centred = [source.select(-3, i) - _OFFSET[i] / 255 for i in range(3)]
    channels = []
    for row in _YCBCR_TO_RGB:
        value = 255 * (row[0] * centred[0] + row[1] * centred[1] + row[2] * centred[2])
        channels.append(_to_uint8(255 * value) if ycbcr.dtype == torch.uint8 else value)
    return torch.stack(channels, dim=-3)


def _forward_row(rgb: Tensor, row: int) -> Tensor:
    """One of Y', Cb, Cr: ``[..., 3, H, W]`` -> ``[..., H, W]``."""
    weights: tuple[float, ...] = _RGB_TO_YCBCR[row]
    offset = _OFFSET[row]
    if rgb.dtype == torch.uint8:
        red, green, blue = (rgb.select(-3, i).to(torch.float64) for i in range(3))
        return _to_uint8((weights[0] * red + weights[1] * green + weights[2] * blue) / 255 + offset)
    red, green, blue = (rgb.select(-3, i) for i in range(3))
    weights = tuple(weight / 255 for weight in weights)
    return weights[0] * red + weights[1] * green + weights[2] * blue + offset / 255


def _to_uint8(value: Tensor) -> Tensor:
    """Round half up: differs from MATLAB's half away from zero only below 0, which saturates."""
    return (value + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _check(name: str, value: Tensor) -> None:
    if value.dim() < 3 or value.shape[-3] != 3:
        raise ValueError(f"{name} must be [..., 3, H, W], got {list(value.shape)}")
    if not (value.is_floating_point() or value.dtype == torch.uint8):
        raise ValueError(f"{name} must be floating point in [0, 1] or uint8, got {value.dtype}")
