"""Writing PNG and TIFF row by row, of 8 or 16 bits, and JPEG and WebP through Pillow.

Pillow writes no picture with several channels of 16 bits, no EXIF into a compressed TIFF, and wants
the whole picture in memory. PNG and TIFF are simple enough to be written directly; in time and size
the PNG writer equals Pillow's, since zlib takes nearly all of it.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, TiffTags

from ._metadata import descriptive_exif, patch_words
from .errors import UserError

if TYPE_CHECKING:
    from .upscale import Pixels

__all__ = ["PillowWriter", "PngWriter", "TiffWriter"]

# Channels -> PNG colour type: grey, grey and alpha, RGB, RGB and alpha.
_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_PILLOW_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class PngWriter:
    """Writes a PNG of 1 to 4 channels, of 8 or 16 bits, top to bottom."""

    _FILTER_BYTES = 1 << 20  # filtered at once; each needs some 20 bytes on the way

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        channels: int,
        dtype: np.dtype[Any],
        *,
        exif: bytes | None = None,
        icc: bytes | None = None,
        dpi: tuple[float, float] | None = None,
    ) -> None:
        self._file = file
        self._dtype = dtype.newbyteorder(">")
        self._pixel_bytes = dtype.itemsize * channels
        self._above = np.zeros(self._pixel_bytes * width, np.uint8)
        self._zlib = zlib.compressobj(6)
        file.write(b"\x89PNG\r\n\x1a\n")
        bits = 8 * dtype.itemsize
        header = struct.pack(">2L5B", width, height, bits, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
        self._chunk(b"IHDR", header)
        if icc:
            self._chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
        if dpi:
            per_metre = (round(value / 0.0254) for value in dpi)
            self._chunk(b"pHYs", struct.pack(">2LB", *per_metre, 1))
        if exif:
            self._chunk(b"eXIf", exif)

    def put(self, band: Pixels) -> None:
        """Append rows ``[rows, W, C]``."""
        rows = np.ascontiguousarray(band, self._dtype).reshape(len(band), -1).view(np.uint8)
        step = max(1, self._FILTER_BYTES // rows.shape[1])
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            self._data(self._zlib.compress(self._filter(part)))
            self._above = part[-1]

    def finish(self) -> None:
        """Write what ends the file."""
        self._data(self._zlib.flush())
        self._chunk(b"IEND", b"")

    def _filter(self, rows: npt.NDArray[np.uint8]) -> bytes:
        """Each row by the filter whose bytes, as signed numbers, are smallest (PNG, 12.8)."""
        bpp = self._pixel_bytes
        up = np.concatenate((self._above[None], rows[:-1]))
        left, corner = np.zeros_like(rows), np.zeros_like(rows)
        left[:, bpp:], corner[:, bpp:] = rows[:, :-bpp], up[:, :-bpp]
        a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
        near_a, near_b, near_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
        nearest = np.where(
            (near_a <= near_b) & (near_a <= near_c), left, np.where(near_b <= near_c, up, corner)
        )
        mean = ((a + b) >> 1).astype(np.uint8)
        best: npt.NDArray[np.uint8] = rows.copy()
        kinds = np.zeros(len(rows), np.uint8)
        lowest = self._cost(rows)
        for kind, prediction in enumerate((left, up, mean, nearest), start=1):
            residual = rows - prediction
            cost = self._cost(residual)
            better = cost < lowest
            best[better], kinds[better], lowest[better] = residual[better], kind, cost[better]
        return np.concatenate((kinds[:, None], best), axis=1).tobytes()

    @staticmethod
    def _cost(residual: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        total: npt.NDArray[np.int64] = np.minimum(residual, -residual).sum(axis=1, dtype=np.int64)
        return total

    def _data(self, data: bytes) -> None:
        if data:
            self._chunk(b"IDAT", data)

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">L", len(data)) + name)
        self._file.write(data)
        self._file.write(struct.pack(">L", zlib.crc32(data, zlib.crc32(name))))


class TiffWriter:
    """Writes a TIFF of 1 to 4 channels, of 8 or 16 bits, top to bottom.

    Compressed by deflate, after horizontal differences.
    """

    _STRIP_BYTES = 1 << 18

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        channels: int,
        dtype: np.dtype[Any],
        *,
        exif: bytes | None = None,
        icc: bytes | None = None,
        dpi: tuple[float, float] | None = None,
    ) -> None:
        self._file = file
        self._dtype = dtype.newbyteorder("<")
        row_bytes = dtype.itemsize * channels * width
        self._rows_per_strip = max(1, min(height, self._STRIP_BYTES // row_bytes))
        self._pending: list[Pixels] = []
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
        source = descriptive_exif(exif) if exif else {}
        for tag in source:
            directory[tag] = source[tag]
        directory[TiffImagePlugin.IMAGEWIDTH] = width
        directory[TiffImagePlugin.IMAGELENGTH] = height
        directory[TiffImagePlugin.BITSPERSAMPLE] = (8 * dtype.itemsize,) * channels
        directory[TiffImagePlugin.COMPRESSION] = 8  # Adobe deflate
        directory[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 1 if channels < 3 else 2
        directory[TiffImagePlugin.SAMPLESPERPIXEL] = channels
        directory[TiffImagePlugin.ROWSPERSTRIP] = self._rows_per_strip
        directory[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
        directory[TiffImagePlugin.PREDICTOR] = 2  # horizontal differences
        if channels in (2, 4):
            directory[TiffImagePlugin.EXTRASAMPLES] = 2  # straight alpha
        if dpi:
            directory[TiffImagePlugin.X_RESOLUTION] = dpi[0]
            directory[TiffImagePlugin.Y_RESOLUTION] = dpi[1]
            directory[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inches
        if icc:
            directory[TiffImagePlugin.ICCPROFILE] = icc
        self._directory = directory
        file.write(b"II*\0\0\0\0\0")  # finish() says where the directory is

    def put(self, band: Pixels) -> None:
        """Append rows ``[rows, W, C]``."""
        self._pending.append(band)
        waiting: Any = np.concatenate(self._pending)
        step = self._rows_per_strip
        whole = len(waiting) // step * step
        for start in range(0, whole, step):
            self._strip(waiting[start : start + step])
        self._pending = [waiting[whole:]]

    def finish(self) -> None:
        """Write the last strip and the directory."""
        for rest in self._pending:
            if len(rest):
                self._strip(rest)
        self._file.write(b"\0" * (self._file.tell() % 2))
        base = self._file.tell()
        if base >= 1 << 32:
            raise UserError("the picture needs more than the 4 GB a TIFF file can hold")
        directory = self._directory
        for tag, values in (
            (TiffImagePlugin.STRIPOFFSETS, self._offsets),
            (TiffImagePlugin.STRIPBYTECOUNTS, self._sizes),
        ):
            directory[tag] = tuple(values)
            directory.tagtype[tag] = TiffTags.LONG
        data = bytearray(directory.tobytes(base))
        # Pillow takes strips to follow the directory and shifts their offsets; ours stand already.
        patch_words(data, base, TiffImagePlugin.STRIPOFFSETS, self._offsets)
        self._file.write(data)
        self._file.seek(4)
        self._file.write(struct.pack("<L", base))

    def _strip(self, rows: Pixels) -> None:
        differences = rows.astype(self._dtype)
        differences[:, 1:] -= rows[:, :-1]
        data = zlib.compress(differences.tobytes(), 6)
        self._offsets.append(self._file.tell())
        self._sizes.append(len(data))
        self._file.write(data)


class PillowWriter:
    """Collects 8-bit rows in a Pillow image, the only copy of the output, and encodes that."""

    def __init__(
        self,
        path: Path,
        format: str,  # noqa: A002  Pillow's own name
        width: int,
        height: int,
        channels: int,
        options: dict[str, Any],
    ) -> None:
        self._path = path
        self._format = format
        self._options = options
        if format == "WEBP" and channels < 3:  # WebP has no grey
            channels += 2
        self._mode = _PILLOW_MODES[channels]
        self._image = Image.new(self._mode, (width, height))
        self._row = 0

    def put(self, band: Pixels) -> None:
        """Append rows ``[rows, W, C]``."""
        part = Image.fromarray(band[..., 0] if band.shape[2] == 1 else band)
        if part.mode != self._mode:
            part = part.convert(self._mode)
        self._image.paste(part, (0, self._row))
        self._row += len(band)

    def finish(self) -> None:
        """Encode the picture, in memory: of a failed write Pillow's encoders keep no reason."""
        encoded = io.BytesIO()
        self._image.save(encoded, format=self._format, **self._options)
        self._path.write_bytes(encoded.getbuffer())
