"""EXIF and ICC, carried from a picture to its enlargement.

EXIF is patched in place rather than parsed and written anew: maker notes hold offsets of their own
and would not survive. Only what enlarging makes untrue changes: orientation (the pixels have been
turned), the picture's size, and the link to a thumbnail that would now lie on its side.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

__all__ = [
    "descriptive_exif",
    "exif_after_enlarging",
    "patch_words",
    "profile_space",
    "read_exif",
    "upright",
]

_PREFIX = b"Exif\x00\x00"
_TIFF_MAGIC = 42
_SHORT, _LONG = 3, 4
_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD, _INTEROP, _MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# (tag of the width, tag of the height) of the main image, in IFD 0 and in the EXIF IFD.
_SIZE_TAGS = (0x0100, 0x0101), (0xA002, 0xA003)
# What describes the picture, as opposed to how a TIFF file stores it.
_DESCRIPTIVE_TAGS = (
    ExifTags.Base.DocumentName,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.Rating,
)


def read_exif(image: Image.Image) -> bytes | None:
    """The EXIF block of an opened picture, from its TIFF header on; None where there is none.

    A TIFF file is itself laid out as EXIF; of such a one, the descriptive tags are taken.

    Raises:
        Exception: whatever Pillow raises on a damaged block.
    """
    block = image.info.get("exif")
    if isinstance(block, bytes) and block:
        while block.startswith(_PREFIX):
            block = block[len(_PREFIX) :]
        return block if len(block) else None
    exif = descriptive_exif(image.getexif())
    return exif.tobytes()[len(_PREFIX) :] if len(exif) else None


def upright(image: Image.Image) -> Image.Image:
    """A loaded picture, turned as its EXIF (or XMP) says. Pillow has turned TIFF files already."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged; whoever read the picture has said so
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def descriptive_exif(source: Image.Exif | bytes) -> Image.Exif:
    """A new Exif with what describes the picture: no strips, no sizes, no orientation."""
    if isinstance(source, bytes):
        loaded = Image.Exif()
        loaded.load(_PREFIX + source)
        source = loaded
    result = Image.Exif()
    for tag in _DESCRIPTIVE_TAGS:
        if tag in source:
            result[tag] = source[tag]
    for ifd in (_EXIF_IFD, _GPS_IFD):
        directory = dict(source.get_ifd(ifd))
        # Offsets into the old file, and notes that hold such offsets.
        for dead in (_INTEROP, _MAKER_NOTE):
            directory.pop(dead, None)
        if directory:
            result[ifd] = directory
    return result


def exif_after_enlarging(exif: bytes, width: int, height: int) -> bytes:
    """The block with orientation 1 and the new size.

    Raises:
        ValueError, struct.error: the block is damaged.
    """
    data = bytearray(exif)
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise ValueError("no byte order mark")
    magic, first = struct.unpack_from(order + "HL", data, 2)
    if magic != _TIFF_MAGIC:
        raise ValueError(f"no TIFF header: {magic} instead of {_TIFF_MAGIC}")
    turned = False
    directories = [(first, _SIZE_TAGS[0])]
    for tag, kind, count, at in _entries(data, order, first):
        if tag == _ORIENTATION and kind == _SHORT and count == 1:
            turned = struct.unpack_from(order + "H", data, at)[0] != 1
            struct.pack_into(order + "H", data, at, 1)
        elif tag == _EXIF_IFD and kind == _LONG:
            directories.append((struct.unpack_from(order + "L", data, at)[0], _SIZE_TAGS[1]))
    for offset, (width_tag, height_tag) in directories:
        for tag, kind, count, at in _entries(data, order, offset):
            if tag in (width_tag, height_tag) and count == 1:
                _pack_number(data, order, kind, at, width if tag == width_tag else height)
    if turned:  # the thumbnail has not been turned
        (entries,) = struct.unpack_from(order + "H", data, first)
        struct.pack_into(order + "L", data, first + 2 + 12 * entries, 0)
    return bytes(data)


def patch_words(data: bytearray, base: int, tag: int, values: list[int]) -> None:
    """Set the 32-bit values of a tag in a little-endian directory that will lie at ``base``."""
    for found, _, count, at in _entries(data, "<", 0):
        if found == tag:
            start = at if count == 1 else struct.unpack_from("<L", data, at)[0] - base
            struct.pack_into(f"<{count}L", data, start, *values)


def _entries(data: bytearray, order: str, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """(tag, type, count, position of the value or its offset) of a directory."""
    (number,) = struct.unpack_from(order + "H", data, offset)
    for index in range(number):
        at = offset + 2 + 12 * index
        tag, kind, count = struct.unpack_from(order + "HHL", data, at)
        yield tag, kind, count, at + 8


def _pack_number(data: bytearray, order: str, kind: int, at: int, value: int) -> None:
    if kind == _LONG:
        struct.pack_into(order + "L", data, at, value)
    elif kind == _SHORT and value <= 0xFFFF:
        struct.pack_into(order + "H", data, at, value)


def profile_space(icc: Any) -> str:
    """The colour space an ICC profile describes: "RGB", "GRAY", "CMYK", ..., "" if unreadable."""
    return icc[16:20].decode("ascii", "replace").strip() if isinstance(icc, bytes) else ""
