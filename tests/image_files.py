"""Image files for the tests, made without the code that is tested, and a PNG taken apart."""

import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKE, EXIF_IFD, PIXEL_WIDTH, PIXEL_HEIGHT = 0x112, 0x10F, 0x8769, 0xA002, 0xA003


def noise(height, width, channels, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(seed)
    return rng.integers(0, top, (height, width, channels), dtype, endpoint=True)


def png_16(pixels, chunks=()):
    """A 16-bit PNG written without any of our code: no filter, chunks as given before IDAT."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", struct.pack(">2L5B", width, height, 16, kind, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in parts
    )


def tiff_16(pixels, order="<", extra=None):
    """An uncompressed 16-bit TIFF written without any of our code."""
    height, width, channels = pixels.shape
    data = pixels.astype(f"{order}u2").tobytes()
    bits_at = 8 + len(data)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (284, 3, 1, 1),
        *([(338, 3, 1, extra)] if extra is not None else []),
    ]
    directory = struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        one_short = kind == 3 and count == 1
        packed = struct.pack(f"{order}{'HH' if one_short else 'L'}", *([value, 0][: 1 + one_short]))
        directory += struct.pack(f"{order}HHL", tag, kind, count) + packed
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", bits_at + len(bits))
    return head + data + bits + directory + b"\0\0\0\0"


def make_exif(orientation=6):
    exif = Image.Exif()
    exif[MAKE] = "Camera"
    exif[ORIENTATION] = orientation
    exif[EXIF_IFD] = {PIXEL_WIDTH: 7, PIXEL_HEIGHT: 5, 0x9003: "2020:01:02 03:04:05"}
    return exif.tobytes()


def damaged_exif(damage):
    """EXIF, from its TIFF header on, that can be walked but not parsed, or not written anew."""
    block = bytearray(make_exif()[6:])
    if damage == "magic":
        block[3] = 152  # 42 with bits flipped
    else:
        block[13] = 5  # the camera's name as fractions
    return bytes(block)


def chunks(data):
    found, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">L", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">L", data, at + 8 + length) == (zlib.crc32(name + body),)
        found.setdefault(name, []).append(body)
        at += 12 + length
    return found
