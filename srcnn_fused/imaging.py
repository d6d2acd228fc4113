"""Image files <-> pixel arrays: colour layout, alpha, bit depth, orientation, EXIF and ICC.

Every file becomes one of four layouts, grey or RGB with or without straight alpha, of 8 or 16 bits:
1-bit is grey; a palette is RGB(A); CMYK, YCbCr and HSV are RGB. Pixels are enlarged as they are
encoded; an ICC profile is neither applied nor changed but goes with them. CMYK is the exception: it
is converted to sRGB first, through its own profile where it has one.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from ._deep import is_deep, read_deep
from ._metadata import descriptive_exif, exif_after_enlarging, profile_space, read_exif, upright
from ._writers import PillowWriter, PngWriter, TiffWriter
from .errors import UserError

if TYPE_CHECKING:
    from .upscale import Pixels

__all__ = [
    "MAX_PIXELS",
    "WRITABLE",
    "Encoding",
    "Picture",
    "PictureWriter",
    "open_writer",
    "read_picture",
    "read_size",
]

# Suffix -> format, of the files we write.
WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
# The size at which Pillow takes a file for a decompression bomb.
MAX_PIXELS = 178_956_970
# Longest side, by format: of the format itself, or of the library that writes it.
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "PNG": (1 << 31) - 1, "TIFF": (1 << 31) - 1}
# EXIF must fit into one JPEG marker, with its own prefix.
_MAX_JPEG_EXIF = 65_533 - 6


@dataclass
class Picture:
    """A decoded file.

    Attributes:
        pixels: ``[H, W, C]``, uint8 or uint16; C is 1 (grey) or 3 (RGB), plus 1 with ``alpha``.
            The EXIF orientation has been applied.
        alpha: whether the last channel is straight alpha.
        exif: the EXIF block from its TIFF header on, as it was; None where there is none.
        icc: the ICC profile of ``pixels``.
        dpi: resolution, as the file says it.
        notices: what the user should know about the reading, one line each.
    """

    pixels: Pixels
    alpha: bool
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    notices: list[str] = field(default_factory=list)


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an image file; of several frames or pages the first.

    Raises:
        UserError: the file is missing, unreadable, broken, too large or of an unsupported kind; one
            line that names it.
    """
    with _reading(path):
        image = _open(path, max_pixels)
        deep = is_deep(image)  # asked now: of a PNG, reading EXIF loads the pixels
        notices = []
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            notices.append(f"holds {frames} frames; only the first is enlarged")
        exif, icc, dpi = None, image.info.get("icc_profile") or None, _dpi(image)
        try:
            exif = read_exif(image)
            if exif:  # to know now whether it can be written, whatever the format
                exif_after_enlarging(exif, 1, 1)
                descriptive_exif(exif).tobytes()
        except Exception:  # Pillow raises all kinds on damaged EXIF
            exif = None
            notices.append("its EXIF data is damaged and is left out")
        pixels: Pixels
        if deep:
            image.close()
            pixels, alpha = read_deep(lambda: _open(path, max_pixels))
        else:
            with image:
                image.load()
                image = upright(image)
                if image.mode == "CMYK":
                    image, icc, notice = _cmyk_to_srgb(image, icc)
                    notices.append(notice)
                pixels, alpha = _to_array(image)
        space = profile_space(icc)
        expected = "GRAY" if pixels.shape[2] < 3 else "RGB"
        if icc and space != expected:
            kind = "grey" if expected == "GRAY" else "RGB"
            notices.append(
                f"its {space or 'broken'} ICC profile does not fit {kind} pixels: dropped"
            )
            icc = None
        return Picture(pixels, alpha, exif, icc, dpi, notices)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height from the header of an image file, orientation not applied.

    Raises:
        UserError: as :func:`read_picture`, for what the header shows.
    """
    with _reading(path), _open(path, None) as image:
        width, height = image.size
        return width, height


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what Pillow and the system raise into one line that names the file."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # _open has its own
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about damage that we report ourselves
            yield
    except UserError as error:
        message = str(error)
        raise UserError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not an image file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except UnidentifiedImageError:
        what = (
            "is empty" if path.stat().st_size == 0 else "is not an image of a kind that can be read"
        )
        raise UserError(f"{path}: {what}") from None
    except MemoryError:
        raise UserError(f"{path}: not enough memory to decode it") from None
    except Exception as error:  # Pillow's decoders raise all kinds on broken files
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{path}: cannot be read: {line}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _open(path: Path, max_pixels: int | None) -> Image.Image:
    image = Image.open(path)
    width, height = image.size
    if max_pixels is not None and width * height > max_pixels:
        image.close()
        raise UserError(
            f"{path}: {width}x{height} is {width * height} pixels, above the limit of {max_pixels} "
            "(a decompression bomb?); --max-pixels raises it"
        )
    return image


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x < 1e5 and 1 <= y < 1e5 else None


def _to_array(image: Image.Image) -> tuple[Pixels, bool]:
    """Bring a loaded picture to one of our layouts: ``[H, W, C]``, and whether it has alpha."""
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _grey_16(image)
    transparent = "transparency" in image.info
    if mode in ("1", "L", "La", "LA"):
        mode = "LA" if transparent or mode in ("La", "LA") else "L"
    else:
        mode = "RGBA" if transparent or mode in ("RGBA", "RGBa", "PA") else "RGB"
    if image.mode == "1" and transparent:  # Pillow converts 1-bit transparency by way of 8 bits
        level = image.info["transparency"]
        image = image.convert("L")
        image.info["transparency"] = 255 if level else 0
    if image.mode != mode:
        try:
            image = image.convert(mode)
        except ValueError:
            raise UserError(f"{image.mode} pixels are not supported; convert to RGB") from None
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1), mode in ("LA", "RGBA")


def _grey_16(image: Image.Image) -> tuple[Pixels, bool]:
    if image.mode == "F":
        raise UserError("floating-point pixels have no fixed range; convert to 8 or 16 bits")
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 0xFFFF):
        low, high = values.min(), values.max()
        raise UserError(
            f"32-bit pixels from {low} to {high} do not fit 16 bits; convert to 16 bits"
        )
    grey = values.astype(np.uint16)[..., None]
    level = image.info.get("transparency")
    if isinstance(level, int):
        opaque = np.where(grey == level, 0, 0xFFFF).astype(np.uint16)
        return np.concatenate((grey, opaque), axis=2), True
    return grey, False


def _cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None, str]:
    """An RGB picture, its profile, and what to tell the user."""
    if icc and profile_space(icc) == "CMYK":
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        try:
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), srgb, outputMode="RGB"
            )
        except ImageCms.PyCMSError:
            converted = None
        if converted is not None:
            return converted, srgb.tobytes(), "CMYK was converted to sRGB by its ICC profile"
    notice = "CMYK without a usable ICC profile was converted to RGB; colours may differ"
    return image.convert("RGB"), None, notice


@dataclass(frozen=True)
class Encoding:
    """How an enlarged picture is to be written.

    Attributes:
        format: one of the values of :data:`WRITABLE`.
        width, height: of the output.
        channels: 1 or 3, plus 1 with alpha.
        dtype: uint8, or uint16 for PNG and TIFF.
        quality: 1 to 100 for JPEG and WebP; WebP at 100 is lossless.
        exif, icc, dpi: as :class:`Picture` has them; EXIF is brought up to date here.
    """

    format: str
    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]
    quality: int = 95
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None

    def check(self) -> list[str]:
        """Notices about what the format cannot keep; UserError where it cannot hold the pixels."""
        limit = _MAX_SIDE[self.format]
        if max(self.width, self.height) > limit:
            raise UserError(
                f"{self.width}x{self.height} does not fit {self.format}, which holds "
                f"{limit} pixels a side; choose --ext png or tif"
            )
        if self.format == "JPEG" and self.channels in (2, 4):
            raise UserError("JPEG cannot hold its transparency; choose --ext png, webp or tif")
        if self.format == "JPEG" and self.exif and len(self.exif) > _MAX_JPEG_EXIF:
            return ["its EXIF data is too long for JPEG and is left out"]
        return []


class PictureWriter(Protocol):
    """Takes the rows of a picture from top to bottom."""

    def put(self, band: Any) -> None:
        """Append rows ``[rows, W, C]``."""

    def finish(self) -> None:
        """Write what is left to write."""


@contextlib.contextmanager
def open_writer(path: Path, encoding: Encoding) -> Iterator[PictureWriter]:
    """Open a writer; the file is complete when the block ends without an exception.

    PNG and TIFF are written as the rows come; JPEG and WebP are collected and encoded at the end.

    Raises:
        UserError: the format cannot hold the picture.
        OSError: the file cannot be written.
    """
    encoding.check()
    size = encoding.width, encoding.height
    exif = encoding.exif
    if exif and encoding.format == "JPEG" and len(exif) > _MAX_JPEG_EXIF:
        exif = None
    if exif:
        exif = exif_after_enlarging(exif, *size)
    if encoding.format in ("JPEG", "WEBP"):
        options = _save_options(encoding, exif)
        collector = PillowWriter(path, encoding.format, *size, encoding.channels, options)
        yield collector
        collector.finish()
        return
    kind: type[PngWriter | TiffWriter] = PngWriter if encoding.format == "PNG" else TiffWriter
    with path.open("wb") as file:
        writer = kind(
            file,
            *size,
            encoding.channels,
            encoding.dtype,
            exif=exif,
            icc=encoding.icc,
            dpi=encoding.dpi,
        )
        yield writer
        writer.finish()


def _save_options(encoding: Encoding, exif: bytes | None) -> dict[str, Any]:
    """What Pillow needs to know to encode a JPEG or WebP file."""
    options: dict[str, Any] = {"quality": encoding.quality}
    if encoding.icc:
        options["icc_profile"] = encoding.icc
    if exif:
        options["exif"] = b"Exif\x00\x00" + exif
    if encoding.format == "JPEG":
        options["subsampling"] = 0  # half-size chroma would undo part of the enlargement
        if encoding.dpi:
            options["dpi"] = encoding.dpi
    else:
        options["lossless"] = encoding.quality == 100
    return options
