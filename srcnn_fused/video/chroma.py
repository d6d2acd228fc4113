"""Chroma planes: where their samples lie, and enlarging them so that they stay there.

With 4:2:0 and 4:2:2 a plane has every other sample of the luma's grid, and formats differ in where:
in the middle of two luma pixels ("center") or on the first of them ("left", "top"). An enlargement
keeps the middle of the image, as bicubic_resize does, so samples on the first pixel would move by
(scale - 1) / 2 pixels of the enlarged luma, and colours with them: half a pixel at x2, one and a
half at x4. They are therefore resampled at shifted positions.
"""

from __future__ import annotations

import math

import torch
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
_REACH = 2  # samples of the plane that an output's four taps reach from the one nearest below


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
    for dim, by in ((-2, shift[0]), (-1, shift[1])):
        planes = _enlarge_axis(planes, dim, scale, by, convention)
    return planes


def _enlarge_axis(x: Tensor, dim: int, scale: int, shift: float, convention: str) -> Tensor:
    """One axis, phase by phase: output K = scale * q + p has the same four weights for every q."""
    length = x.shape[dim]
    before = torch.arange(-_REACH, 0, device=x.device)
    after = torch.arange(length, length + _REACH, device=x.device)
    padded = torch.cat(
        [_beyond(x, dim, before, convention), x, _beyond(x, dim, after, convention)], dim
    )
    inside = None
    if convention == "pil":  # weights beyond the edge are left out and the others renormalised
        inside = x.new_zeros(length + 2 * _REACH)
        inside[_REACH:-_REACH] = 1
    a = -0.75 if convention == "torch" else -0.5
    phases = x.dim() + dim + 1  # a new dimension behind dim
    shape = list(x.shape)
    shape.insert(phases, scale)
    out = x.new_empty(shape)
    for phase in range(scale):
        offset = (phase + 0.5) / scale - 0.5 + shift
        first = math.floor(offset) - 1
        distances = offset - (first + torch.arange(4, dtype=torch.float64))
        weights = keys_cubic(distances, a).tolist()
        part = out.select(phases, phase)
        part.zero_()
        norm = None if inside is None else inside.new_zeros(length)
        for tap, weight in enumerate(weights, first + _REACH):
            part.add_(padded.narrow(dim, tap, length), alpha=weight)
            if inside is not None and norm is not None:
                norm.add_(inside[tap : tap + length], alpha=weight)
        if norm is not None:
            part.div_(norm[:, None] if dim == -2 else norm)
    return out.flatten(phases - 1, phases)


def _beyond(x: Tensor, dim: int, indices: Tensor, convention: str) -> Tensor:
    """What the convention has at indices outside of the plane."""
    length = x.shape[dim]
    if convention == "matlab":  # mirrored, the edge sample repeated
        indices = indices.remainder(2 * length)
        indices = torch.minimum(indices, 2 * length - 1 - indices)
    elif convention == "pil":
        shape = list(x.shape)
        shape[dim] = len(indices)
        return x.new_zeros(shape)
    return x.index_select(dim, indices.clamp(0, length - 1))
