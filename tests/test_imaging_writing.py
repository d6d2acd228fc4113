"""What is written is read back: pixels in bands, EXIF, ICC, resolution; and what is refused."""

import struct
import zlib

import numpy as np
import pytest
from image_files import (
    EXIF_IFD,
    MAKE,
    ORIENTATION,
    PIXEL_HEIGHT,
    PIXEL_WIDTH,
    SRGB,
    chunks,
    make_exif,
    noise,
)
from PIL import Image

from srcnn_fused.errors import UserError
from srcnn_fused.imaging import Encoding, open_writer, read_picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_round_trip_in_bands(tmp_path, channels, dtype):
    # Noise above, a ramp below: no one filter suits both.
    ramp = np.add.outer(np.arange(57) * 3, np.arange(83) * 2)[..., None] * np.arange(
        1, 1 + channels
    )
    pixels = noise(57, 83, channels, dtype)
    pixels[30:] = ramp[30:].astype(dtype)
    path = tmp_path / "a.png"
    with open_writer(path, Encoding("PNG", 83, 57, channels, np.dtype(dtype))) as writer:
        for row in range(0, 57, 10):
            writer.put(pixels[row : row + 10])
    assert np.array_equal(read_picture(path).pixels, pixels)
    data = zlib.decompress(b"".join(chunks(path.read_bytes())[b"IDAT"]))
    filters = {data[row * (1 + pixels[0].nbytes)] for row in range(57)}
    assert len(filters) > 1


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(1, np.uint8), (1, np.uint16), (2, np.uint8), (3, np.uint8), (3, np.uint16), (4, np.uint16)],
)
def test_tiff_round_trip_in_bands(tmp_path, monkeypatch, channels, dtype):
    from srcnn_fused._writers import TiffWriter

    monkeypatch.setattr(TiffWriter, "_STRIP_BYTES", 4000)  # several strips
    pixels = noise(57, 83, channels, dtype)
    path = tmp_path / "a.tif"
    with open_writer(path, Encoding("TIFF", 83, 57, channels, np.dtype(dtype))) as writer:
        for row in range(0, 57, 10):
            writer.put(pixels[row : row + 10])
    assert np.array_equal(read_picture(path).pixels, pixels)
    with Image.open(path) as image:
        assert len(image.tag_v2[273]) > 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp_lossless_and_jpeg(tmp_path, channels):
    pixels = noise(16, 16, channels)
    if channels in (2, 4):
        pixels[..., -1] |= 1  # WebP may change colours that cannot be seen
    path = tmp_path / "a.webp"
    encoding = Encoding("WEBP", 16, 16, channels, np.dtype(np.uint8), quality=100)
    with open_writer(path, encoding) as writer:
        writer.put(pixels[:9])
        writer.put(pixels[9:])
    colours = pixels[..., :1].repeat(3, 2) if channels < 3 else pixels[..., :3]
    got = read_picture(path).pixels
    assert np.array_equal(got[..., :3], colours)
    if channels in (2, 4):
        assert np.array_equal(got[..., 3], pixels[..., -1])
    else:
        smooth = np.full((16, 16, channels), 90, np.uint8)
        with open_writer(
            tmp_path / "a.jpg", Encoding("JPEG", 16, 16, channels, np.dtype(np.uint8))
        ) as writer:
            writer.put(smooth)
        assert np.abs(read_picture(tmp_path / "a.jpg").pixels.astype(int) - smooth).max() <= 1


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("PNG", np.uint8),
        ("PNG", np.uint16),
        ("TIFF", np.uint8),
        ("TIFF", np.uint16),
        ("JPEG", np.uint8),
        ("WEBP", np.uint8),
    ],
)
def test_exif_icc_and_resolution_are_carried(tmp_path, kind, dtype):
    Image.fromarray(noise(5, 7, 3)).save(
        tmp_path / "a.jpg", exif=make_exif(), icc_profile=SRGB, dpi=(300, 300)
    )
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.pixels.shape == (7, 5, 3)  # turned
    path = tmp_path / f"b.{kind.lower()}"
    encoding = Encoding(
        kind, 15, 21, 3, np.dtype(dtype), 95, picture.exif, picture.icc, picture.dpi
    )
    with open_writer(path, encoding) as writer:
        writer.put(noise(21, 15, 3, dtype))
    with Image.open(path) as image:
        assert image.size == (15, 21)
        assert image.info["icc_profile"] == SRGB
        if kind != "WEBP":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        exif = image.getexif()
        assert exif[MAKE] == "Camera"
        assert exif.get(ORIENTATION, 1) == 1
        details = exif.get_ifd(EXIF_IFD)
        assert details[0x9003] == "2020:01:02 03:04:05"
        assert (details[PIXEL_WIDTH], details[PIXEL_HEIGHT]) == (15, 21)


def test_exif_is_otherwise_left_byte_for_byte(tmp_path):
    exif = make_exif(1)
    exif += b"maker notes that nobody understands"
    Image.fromarray(noise(5, 7, 3)).save(tmp_path / "a.jpg", exif=exif)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.exif == exif[6:]
    encoding = Encoding("PNG", 7, 5, 3, np.dtype(np.uint8), exif=picture.exif)
    with open_writer(tmp_path / "a.png", encoding) as writer:
        writer.put(picture.pixels)
    assert chunks((tmp_path / "a.png").read_bytes())[b"eXIf"] == [picture.exif]


def test_a_thumbnail_is_dropped_when_the_picture_was_turned(tmp_path):
    def with_thumbnail(orientation):
        tag = struct.pack("<HHLHH", ORIENTATION, 3, 1, orientation, 0)
        first = b"II*\0" + struct.pack("<LH", 8, 1) + tag + struct.pack("<L", 26)
        return first + struct.pack("<H", 0) + b"\0\0\0\0"

    for orientation, link in ((1, 26), (6, 0)):
        path = tmp_path / f"{orientation}.png"
        encoding = Encoding("PNG", 2, 2, 1, np.dtype(np.uint8), exif=with_thumbnail(orientation))
        with open_writer(path, encoding) as writer:
            writer.put(noise(2, 2, 1))
        (exif,) = chunks(path.read_bytes())[b"eXIf"]
        assert struct.unpack_from("<L", exif, 22) == (link,)
        assert struct.unpack_from("<H", exif, 18) == (1,)


def test_exif_too_long_for_jpeg_is_left_out_with_a_notice(tmp_path):
    encoding = Encoding("JPEG", 8, 8, 3, np.dtype(np.uint8), exif=b"II*\0" + b"\0" * 70_000)
    assert encoding.check() == ["its EXIF data is too long for JPEG and is left out"]
    with open_writer(tmp_path / "a.jpg", encoding) as writer:
        writer.put(noise(8, 8, 3))
    assert read_picture(tmp_path / "a.jpg").exif is None


def test_what_a_format_cannot_hold_is_refused_before_writing(tmp_path):
    path = tmp_path / "a.out"
    with (
        pytest.raises(UserError, match="20000x10 does not fit WEBP, which holds 16383 pixels"),
        open_writer(path, Encoding("WEBP", 20_000, 10, 3, np.dtype(np.uint8))),
    ):
        pass
    with (
        pytest.raises(UserError, match="JPEG cannot hold its transparency"),
        open_writer(path, Encoding("JPEG", 10, 10, 4, np.dtype(np.uint8))),
    ):
        pass
    assert not path.exists()
