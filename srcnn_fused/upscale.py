"""Enlarging one decoded image with a network, in horizontal bands, so that memory stays bounded.

A band is cut out of the low-resolution image with a halo of rows as deep as the bicubic kernel and
the convolutions can see, enlarged, and its halo cut off again: the result is that of the
whole image at once, to float rounding, whatever the height of the bands.

Colour. SRCNN was trained on MATLAB's studio-swing luma, Y' in [16, 235] / 255 (see
:mod:`srcnn_fused.colour`), so photographs go to one-channel networks as that luma, not as the
full-range Y of JPEG; their Cb and Cr are enlarged by bicubic, as in the papers. Everything between
decoding and the last rounding is unclipped floating point, so saturated colours lose nothing twice.
Three-channel networks take R'G'B' in [0, 1] whole. Alpha is enlarged by bicubic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from . import colour, functional
from .modules import FusedSRCNN

__all__ = ["Pixels", "enlarge", "upscale_bands", "upscale_pixels"]

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# Output pixels the network makes at once. The halo is computed twice, so few and high bands are
# faster; 4 bytes a pixel and channel are kept. The reference path keeps all feature maps of a band
# (96 floats a pixel, and as much again in the convolution), so it gets small ones.
_FUSED_BAND = 2 << 20
_REFERENCE_BAND = 96 << 10
# Output pixels put together at once: chroma and RGB take some 30 bytes each.
_ASSEMBLY_BAND = 512 << 10
# Rows of the source that bicubic enlargement reaches above and below an output row.
_BICUBIC_HALO = 3
# Studio swing of a grey value v in [0, 1]: (16 + 219 v) / 255.
_LUMA_BLACK, _LUMA_RANGE = 16 / 255, 219 / 255


def upscale_pixels(
    pixels: Pixels,
    model: FusedSRCNN,
    *,
    alpha: bool = False,
    dtype: npt.DTypeLike | None = None,
) -> Pixels:
    """Enlarge a decoded image by ``model.scale``: all bands of :func:`upscale_bands` in one array.

    Returns:
        ``[scale * H, scale * W, C]`` of ``dtype``.

    >>> model = FusedSRCNN.from_pretrained("9-1-5-x3")
    >>> upscale_pixels(np.zeros((4, 5, 3), np.uint8), model).shape
    (12, 15, 3)
    """
    bands = upscale_bands(pixels, model, alpha=alpha, dtype=dtype)
    return np.concatenate([band for _, band in bands])


def upscale_bands(
    pixels: Pixels,
    model: FusedSRCNN,
    *,
    alpha: bool = False,
    dtype: npt.DTypeLike | None = None,
    band_pixels: int | None = None,
) -> Iterator[tuple[int, Pixels]]:
    """Enlarge a decoded image by ``model.scale`` and give it out from top to bottom.

    Where alpha is 0, colours are invisible and often arbitrary (black); near visible pixels they
    are first replaced by the mean of their visible neighbours, so that they do not bleed into the
    enlarged edge.

    Args:
        pixels: ``[H, W, C]``, uint8 or uint16; C is 1 (grey) or 3 (RGB), plus 1 with ``alpha``.
        model: with ``scale`` set, of 1 or 3 channels, on any device and of any float dtype.
        alpha: whether the last channel is straight (not premultiplied) alpha.
        dtype: of the output, uint8 or uint16; default: that of ``pixels``.
        band_pixels: output pixels that the network makes at once; default: by its memory need.

    Yields:
        ``(row, band)``: ``band [rows, scale * W, C]`` belongs at output row ``row``. Bands follow
        one another without gaps.

    Raises:
        ValueError: an argument is not as above.
    """
    out_dtype = np.dtype(pixels.dtype if dtype is None else dtype)
    scale = _check(pixels, model, alpha, out_dtype)
    if band_pixels is None:
        band_pixels = _REFERENCE_BAND if _is_reference(model) else _FUSED_BAND
    return _bands(pixels, model, scale, alpha, out_dtype, band_pixels)


def _bands(
    pixels: Pixels,
    model: FusedSRCNN,
    scale: int,
    alpha: bool,
    dtype: np.dtype[np.generic],
    band_pixels: int,
) -> Iterator[tuple[int, Pixels]]:
    height, width = pixels.shape[:2]
    reach = _reach(model, scale)
    # Hidden colours are filled as far as that, from neighbours as far again.
    halo = 2 * reach if alpha else reach
    row_pixels = scale * scale * width
    band_rows = max(1, band_pixels // row_pixels)
    part_rows = min(band_rows, max(1, _ASSEMBLY_BAND // row_pixels))
    band_rows -= band_rows % part_rows
    # One buffer for all parts: a fresh one each time would leave the heap in pieces, and growing.
    buffer = torch.empty(
        pixels.shape[2],
        part_rows * scale,
        width * scale,
        device=model.conv1.weight.device,
        dtype=_colour_dtype(model),
    )
    for top in range(0, height, band_rows):
        bottom = min(height, top + band_rows)
        first, last = max(0, top - halo), min(height, bottom + halo)
        source = _to_float(pixels[first:last], model)
        if alpha:
            source = _fill_hidden(source, reach)
        enlarged = _run_network(source, model, alpha, top - first, last - bottom)
        for part in range(top, bottom, part_rows):
            part_bottom = min(bottom, part + part_rows)
            rows = slice((part - top) * scale, (part_bottom - top) * scale)
            above, below = max(first, part - _BICUBIC_HALO), min(last, part_bottom + _BICUBIC_HALO)
            image = buffer[:, : (part_bottom - part) * scale]
            _assemble(
                image,
                enlarged[0, :, rows],
                source[..., above - first : below - first, :],
                model,
                alpha,
                part - above,
                below - part_bottom,
            )
            yield part * scale, _to_integers(image, dtype)


def _check(pixels: Pixels, model: FusedSRCNN, alpha: bool, dtype: np.dtype[np.generic]) -> int:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels must be uint8 or uint16, got {pixels.dtype}")
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"dtype must be uint8 or uint16, got {dtype}")
    channels = (2, 4) if alpha else (1, 3)
    if pixels.ndim != 3 or pixels.shape[2] not in channels or 0 in pixels.shape:
        expected = f"[H, W, {channels[0]} or {channels[1]}] and not empty"
        raise ValueError(f"pixels must be {expected}, got {list(pixels.shape)}")
    if model.scale is None:
        raise ValueError("model.scale must be a positive integer, got None")
    if model.num_channels not in (1, 3):
        raise ValueError(f"model must have 1 or 3 channels, got {model.num_channels}")
    return model.scale


def enlarge(source: Tensor, model: FusedSRCNN) -> Tensor:
    """The network on a whole image, in bands where all its feature maps would be kept (reference).

    Args:
        source: ``[N, c, h, w]`` on the model's device and of its dtype.
        model: with ``scale`` set.

    Returns:
        ``[N, c, scale * h, scale * w]``, to rounding what ``model(source)`` gives.
    """
    scale = model.scale or 1
    batch, channels, height, width = source.shape
    rows = max(1, _REFERENCE_BAND // (scale * scale * width * batch))
    if rows >= height or not _is_reference(model):
        whole: Tensor = model(source)
        return whole
    reach = _reach(model, scale)
    out = source.new_empty(batch, channels, height * scale, width * scale)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        first, last = max(0, top - reach), min(height, bottom + reach)
        band = _without_halo(model(source[..., first:last, :]), model, top - first, last - bottom)
        out[..., top * scale : bottom * scale, :] = band
    return out


def _reach(model: FusedSRCNN, scale: int) -> int:
    """Rows of the source that one output row sees above and below."""
    radius = sum(size // 2 for size in model.kernel_sizes)  # rows of the enlarged image
    return math.ceil(radius / scale) + _BICUBIC_HALO


def _is_reference(model: FusedSRCNN) -> bool:
    weights = [conv.weight for conv in model.convs]
    return (
        model.backend == "reference" or functional.why_not_fused(weights[0], *weights) is not None
    )


def _colour_dtype(model: FusedSRCNN) -> torch.dtype:
    """float32, or float64 where the model has it: 16-bit floats would round the image's colours."""
    return torch.float64 if model.conv1.weight.dtype == torch.float64 else torch.float32


def _to_float(pixels: Pixels, model: FusedSRCNN) -> Tensor:
    """``[rows, W, C]`` integers -> ``[1, C, rows, W]`` in [0, 1], on the model's device."""
    dtype = np.float64 if _colour_dtype(model) == torch.float64 else np.float32
    planar = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).astype(dtype)
    planar /= np.iinfo(pixels.dtype).max
    return torch.from_numpy(planar)[None].to(model.conv1.weight.device)


@torch.inference_mode()
def _to_integers(image: Tensor, dtype: np.dtype[np.generic]) -> Pixels:
    """``[C, rows, W]`` -> ``[rows, W, C]``: the one rounding, and the one clipping. In place."""
    top = 255 if dtype == np.uint8 else 65535
    image.mul_(top).add_(0.5).clamp_(0, top)
    kind = torch.uint8 if dtype == np.uint8 else torch.uint16
    integers: Pixels = (
        image.permute(1, 2, 0).to(kind, memory_format=torch.contiguous_format).cpu().numpy()
    )
    return integers


@torch.inference_mode()
def _fill_hidden(source: Tensor, reach: int) -> Tensor:
    """Replace colours under alpha 0 by visible neighbours' means, ``reach`` pixels far.

    Args:
        source: ``[1, c + 1, rows, W]``, alpha last.
    """
    shades, opacity = source[:, :-1], source[:, -1:]
    known = (opacity > 0).to(source.dtype)
    if bool(known.all()):
        return source
    for _ in range(reach):
        weight = F.avg_pool2d(known, 3, stride=1, padding=1)
        mean = F.avg_pool2d(shades * known, 3, stride=1, padding=1) / weight.clamp(min=1e-6)
        fresh = (known == 0) & (weight > 0)
        shades = torch.where(fresh, mean, shades)
        known = torch.maximum(known, fresh.to(known.dtype))
    return torch.cat((shades, opacity), dim=1)


@torch.inference_mode()
def _run_network(source: Tensor, model: FusedSRCNN, alpha: bool, above: int, below: int) -> Tensor:
    """Luma ``[1, 1, rows, W]`` or R'G'B' ``[1, 3, rows, W]`` of a band, without its halo.

    Args:
        source: ``[1, C, h, w]`` in [0, 1], with the halo.
        above, below: its rows.
    """
    shades = source[:, :-1] if alpha else source
    if model.num_channels == 3:
        feed = shades.expand(-1, 3, -1, -1)
    elif shades.shape[1] == 3:
        feed = colour.luma(shades)
    else:
        feed = shades * _LUMA_RANGE + _LUMA_BLACK
    return _without_halo(model(feed.to(model.conv1.weight.dtype)), model, above, below)


@torch.inference_mode()
def _assemble(
    image: Tensor,
    enlarged: Tensor,
    source: Tensor,
    model: FusedSRCNN,
    alpha: bool,
    above: int,
    below: int,
) -> None:
    """Make the finished rows, in [0, 1] and unclipped.

    Args:
        image: ``[C, rows, W]``, what to fill.
        enlarged: ``[1 or 3, rows, W]``, what the network made of these rows.
        source: the same rows ``[1, C, h, w]`` of the low-resolution image, with a bicubic halo.
        above, below: rows of that halo.
    """
    shades = source[:, :-1] if alpha else source
    is_grey = shades.shape[1] == 1
    if model.num_channels == 3 and not is_grey:
        image[:3] = enlarged
    elif is_grey:
        # An RGB network had the image three times; BT.601's weights make one grey of what came out.
        image[:1] = colour.luma(enlarged) if model.num_channels == 3 else enlarged
        image[:1].sub_(_LUMA_BLACK).div_(_LUMA_RANGE)
    else:
        chroma = _enlarge(colour.rgb_to_ycbcr(shades)[:, 1:], model, above, below)[0]
        luma = enlarged[0].to(image.dtype)
        for plane, (weights, offset) in zip(image, colour.YCBCR_TO_RGB, strict=False):
            torch.mul(luma, weights[0], out=plane)
            plane.add_(chroma[0], alpha=weights[1]).add_(chroma[1], alpha=weights[2]).add_(offset)
    if alpha:
        image[-1] = _enlarge(source[:, -1:], model, above, below)[0, 0]


def _enlarge(planes: Tensor, model: FusedSRCNN, above: int, below: int) -> Tensor:
    """Bicubic, in the model's own convention, without the halo."""
    backend = "reference" if model.backend == "reference" else "auto"
    enlarged = functional.bicubic_resize(
        planes, scale=float(model.scale or 1), convention=model.bicubic, backend=backend
    )
    return _without_halo(enlarged, model, above, below)


def _without_halo(enlarged: Tensor, model: FusedSRCNN, above: int, below: int) -> Tensor:
    scale = model.scale or 1
    return enlarged[..., above * scale : enlarged.shape[-2] - below * scale, :]
