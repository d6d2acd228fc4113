"""Reading pictures of several channels of 16 bits, which Pillow reduces to 8.

Pillow decodes such files but keeps the high byte of every sample. Its unpackers for big-endian and
little-endian samples take the first and the second byte, so decoding twice, with the byte order
swapped the second time, gives both bytes, through Pillow's own handling of interlace, predictors,
compression and errors.

The alternatives were weighed: imagecodecs with tifffile, and opencv-python-headless, are 26 and
60 MB for a path that few files take, and say less about broken ones; pypng filters in pure Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from ._metadata import upright
from .errors import UserError

__all__ = ["is_deep", "read_deep"]

Samples = npt.NDArray[np.uint16]

# Raw modes of Pillow's unpackers -> the mode to decode into, and samples a pixel.
_DEEP_MODES = {"RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "RGBa": "RGBA", "LA": "RGBA"}
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_TIFF_BITS, _TIFF_PLANAR = 258, 284


def _raw_mode(image: Image.Image) -> str:
    """The unpacker of the first tile, such as "RGB;16B"; "" where there is none."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded picture has several channels of 16 bits.

    Raises:
        UserError: a TIFF of that kind with separate colour planes: Pillow decodes it wrongly.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, ())
    if tags.get(_TIFF_PLANAR) == 2 and len(bits) > 1 and max(bits) > 8:
        raise UserError("16-bit TIFF with separate colour planes cannot be read; interleave them")
    base, _, depth = _raw_mode(image).partition(";")
    return base in _DEEP_MODES and depth in ("16B", "16L", "16N")


def read_deep(open_image: Callable[[], Image.Image]) -> tuple[Samples, bool]:
    """Decode a picture for which :func:`is_deep` holds, its orientation applied.

    Args:
        open_image: opens the picture anew; called once or twice.

    Returns:
        ``[H, W, C]``, and whether the last channel is alpha.

    Raises:
        Exception: whatever Pillow raises on a broken file.
    """
    image = open_image()
    raw = _raw_mode(image)
    base, order = raw.split(";")[0], raw[-1]
    transparent = image.info.get("transparency")
    if base == "LA":  # four bytes a pixel, as RGBA: both bytes of both samples at once
        both = _decode(image, "RGBA")
        high, low = both[..., 0::2], both[..., 1::2]
    else:
        base = "RGBA" if base == "RGBa" else base
        high = _decode(image, f"{base};16{order}")
        low = _decode(open_image(), f"{base};16{_SWAPPED[order]}")
    samples: Samples = np.bitwise_or(high.astype(np.uint16) << 8, low, dtype=np.uint16)
    if raw.startswith("RGBa"):
        samples = _unpremultiply(samples)
    if isinstance(transparent, tuple) and samples.shape[2] == 3:
        hidden = (samples == np.array(transparent, np.uint16)).all(axis=2, keepdims=True)
        opacity = np.where(hidden, 0, 0xFFFF).astype(np.uint16)
        samples = np.concatenate((samples, opacity), axis=2)
    return samples, samples.shape[2] in (2, 4)


def _decode(image: Image.Image, raw: str) -> npt.NDArray[np.uint8]:
    # The tile's arguments: a raw mode by itself (PNG), or with what the codec needs (TIFF).
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=raw if isinstance(tile[3], str) else (raw, *tile[3][1:]))
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    image.load()
    return np.asarray(upright(image))


def _unpremultiply(samples: Samples) -> Samples:
    alpha = samples[..., 3:].astype(np.uint32)
    straight = (samples[..., :3] * np.uint32(0xFFFF) + alpha // 2) // np.maximum(alpha, 1)
    result: Samples = samples.copy()
    result[..., :3] = np.minimum(straight, 0xFFFF)
    return result
