"""Chroma planes: where their samples lie, and enlarging them so that they stay there.

With 4:2:0 and 4:2:2 a plane has every other sample of the luma's grid, and formats differ in where:
in the middle of two luma pixels ("center") or on the first of them ("left", "top"). An enlargement
keeps the middle of the image, as bicubic_resize does, so samples on the first pixel would move by
(scale - 1) / 2 pixels of the enlarged luma, and colours with them: half a pixel at x2, one and a
half at x4. They are therefore resampled at shifted positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import functional
from ..reference import keys_cubic

__all__ = ["SITINGS", "enlarge_chroma", "siting_shift"]

# Siting -> position of a chroma sample between two luma pixels, (y, x): 0 on the first, 1 on the
# second. The names are FFmpeg's (AVChromaLocation).
SITINGS = {
    "left": (0.5, 0.0),
    "center": (0.5, 0.5),
    "topleft": (0.0, 0.0),
    "top": (0.0, 0.5),
    "bottomleft": (1.0, 0.0),
    "bottom": (1.0, 0.5),
}
# An output's four taps, shifted by no more than half a sample, lie within two of its own sample.
_REACH = 2
_TAPS = 2 * _REACH + 1


def siting_shift(position: float, scale: int) -> float:
    """How far an output sample's source lies from where centred resizing takes it.

    Sample k of a plane lies at luma pixel 2k + position, in the small image and in the large one.
    So output K comes from k = (K + (position + 0.5) / 2) / scale - (position + 0.5) / 2, whereas
    centred resizing takes (K + 0.5) / scale - 0.5.

    Args:
        position: of a sample between two luma pixels, 0 to 1; 0.5 is the middle.
        scale: of the enlargement.

    Returns:
        The difference, in samples of the small plane; 1/8 for "left" at x2.
    """
    return (0.5 - position) / 2 * (1 - 1 / scale)


def enlarge_chroma(
    planes: Tensor,  # [N, C, h, w]
    scale: int,
    convention: str,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    backend: str = "auto",
) -> Tensor:
    """Bicubic by ``scale``, as bicubic_resize does, with the sources moved by ``shift``.

    Args:
        planes: floating point.
        convention: "matlab", "pil" or "torch".
        shift: (y, x) in samples of the small plane, each within half a sample (siting_shift).
        backend: for bicubic_resize, which serves what is not shifted.

    Returns:
        ``[N, C, scale * h, scale * w]`` of the same dtype.
    """
    if shift == (0.0, 0.0):
        return functional.bicubic_resize(
            planes, scale=float(scale), convention=convention, backend=backend
        )
    # GPUs may round the operands of float32 convolutions to TF32, 10 bits: too few.
    x = planes.double() if planes.is_cuda else planes
    batch, channels, height, width = x.shape
    down = _phases(scale, shift[0], convention).to(x)
    across = _phases(scale, shift[1], convention).to(x)
    kernels = down[:, None, :, None] * across[None, :, None, :]  # [scale, scale, 5, 5]
    padded = _pad(_pad(x, -2, convention), -1, convention).reshape(
        batch * channels, 1, height + 2 * _REACH, width + 2 * _REACH
    )
    out = F.pixel_shuffle(F.conv2d(padded, kernels.reshape(-1, 1, _TAPS, _TAPS)), scale)
    if convention == "pil":  # weights beyond the edge are left out and the others renormalised
        out /= _weight_inside(height, down)[:, None] * _weight_inside(width, across)
    return out.reshape(batch, channels, scale * height, scale * width).to(planes.dtype)


def _phases(scale: int, shift: float, convention: str) -> Tensor:
    """Weights of the samples -2 to 2 around q, for outputs scale * q + p: ``[scale, 5]``."""
    a = -0.75 if convention == "torch" else -0.5
    offsets = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5 + shift
    samples = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    return keys_cubic(offsets[:, None] - samples, a)


def _pad(x: Tensor, dim: int, convention: str) -> Tensor:
    """The plane with what the convention has beyond its edges, two samples a side."""
    length = x.shape[dim]
    indices = torch.arange(-_REACH, length + _REACH, device=x.device)
    if convention == "matlab":  # mirrored, the edge sample repeated
        indices = indices.remainder(2 * length)
        indices = torch.minimum(indices, 2 * length - 1 - indices)
    indices = indices.clamp(0, length - 1)
    edges = [x.index_select(dim, part) for part in (indices[:_REACH], indices[-_REACH:])]
    if convention == "pil":
        edges = [torch.zeros_like(edge) for edge in edges]
    return torch.cat([edges[0], x, edges[1]], dim)


def _weight_inside(length: int, phases: Tensor) -> Tensor:
    """Sum of an output's weights that fall on samples of the plane: ``[scale * length]``."""
    inside = phases.new_zeros(1, 1, length + 2 * _REACH)
    inside[..., _REACH:-_REACH] = 1
    return F.conv1d(inside, phases[:, None])[0].T.flatten()
