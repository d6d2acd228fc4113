"""Image files of every kind: what they decode to, and what is written back."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from srcnn_fused.errors import UserError
from srcnn_fused.imaging import Encoding, open_writer, read_picture, read_size

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


@pytest.mark.parametrize(
    ("mode", "channels", "alpha"),
    [("L", 1, False), ("LA", 2, True), ("RGB", 3, False), ("RGBA", 4, True)],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_8_bit_layouts_are_read_as_they_are(tmp_path, mode, channels, alpha, suffix):
    pixels = noise(5, 7, channels)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    assert np.array_equal(picture.pixels, pixels)
    assert picture.alpha is alpha
    assert picture.notices == []


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_every_bit(tmp_path, channels):
    pixels = noise(5, 7, channels, np.uint16)
    (tmp_path / "a.png").write_bytes(png_16(pixels))
    picture = read_picture(tmp_path / "a.png")
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, pixels)
    assert picture.alpha is (channels in (2, 4))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("channels", "extra"), [(3, None), (4, 2), (4, 0)])
def test_16_bit_tiff_keeps_every_bit(tmp_path, order, channels, extra):
    pixels = noise(5, 7, channels, np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff_16(pixels, order, extra))
    picture = read_picture(tmp_path / "a.tif")
    shown = channels if extra != 0 else 3  # an unspecified fourth channel is not alpha
    assert np.array_equal(picture.pixels, pixels[..., :shown])
    assert picture.alpha is (extra == 2)


def test_premultiplied_16_bit_tiff_becomes_straight(tmp_path):
    straight = noise(5, 7, 4, np.uint16)
    straight[..., 3] = np.maximum(straight[..., 3], 40_000)
    multiplied = straight.copy()
    multiplied[..., :3] = np.rint(straight[..., :3] * (straight[..., 3:] / 65535))
    (tmp_path / "a.tif").write_bytes(tiff_16(multiplied, extra=1))
    got = read_picture(tmp_path / "a.tif").pixels
    assert np.abs(got.astype(int) - straight).max() <= 1


def test_16_bit_planar_tiff_is_refused(tmp_path):
    data = bytearray(tiff_16(noise(5, 7, 3, np.uint16)))
    data[data.index(struct.pack("<HHLHH", 284, 3, 1, 1, 0)) + 8] = 2
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.tif: 16-bit TIFF with separate colour planes"):
        read_picture(tmp_path / "a.tif")


def test_16_bit_transparent_colour_becomes_alpha(tmp_path):
    colour = noise(4, 4, 3, np.uint16)
    colour[1, 2] = (1, 2, 3)
    (tmp_path / "rgb.png").write_bytes(png_16(colour, [(b"tRNS", struct.pack(">3H", 1, 2, 3))]))
    picture = read_picture(tmp_path / "rgb.png")
    assert picture.alpha
    assert np.array_equal(picture.pixels[..., :3], colour)
    assert picture.pixels[1, 2, 3] == 0
    assert (picture.pixels[..., 3] == 65535).sum() == 15
    grey = noise(4, 4, 1, np.uint16)
    grey[0, 3] = 777
    (tmp_path / "grey.png").write_bytes(png_16(grey, [(b"tRNS", struct.pack(">H", 777))]))
    picture = read_picture(tmp_path / "grey.png")
    assert picture.alpha
    assert picture.pixels[0, 3].tolist() == [777, 0]


def test_palette_one_bit_and_transparent_palette(tmp_path):
    colour = Image.fromarray(noise(6, 6, 3)).quantize(5)
    colour.save(tmp_path / "p.png")
    picture = read_picture(tmp_path / "p.png")
    assert np.array_equal(picture.pixels, np.asarray(colour.convert("RGB")))
    colour.save(tmp_path / "t.png", transparency=2)
    picture = read_picture(tmp_path / "t.png")
    assert picture.alpha
    assert np.array_equal(picture.pixels[..., 3] == 0, np.asarray(colour) == 2)
    bits = noise(6, 6, 1)[..., 0] > 128
    Image.fromarray(bits).save(tmp_path / "1.png")
    assert np.array_equal(read_picture(tmp_path / "1.png").pixels[..., 0], bits * np.uint8(255))
    Image.fromarray(bits).save(tmp_path / "1t.png", transparency=0)
    picture = read_picture(tmp_path / "1t.png")
    assert picture.alpha
    assert np.array_equal(picture.pixels[..., 1], bits * np.uint8(255))


def test_grey_levels_beyond_8_bits_from_other_formats(tmp_path):
    grey = noise(5, 7, 1, np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 7 5 65535\n" + grey.astype(">u2").tobytes())
    picture = read_picture(tmp_path / "a.pgm")
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, grey)


def test_pixels_without_a_fixed_range_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif: floating-point pixels have no fixed range"):
        read_picture(tmp_path / "f.tif")
    Image.fromarray(np.full((2, 2), -5, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(UserError, match=r"i\.tif: 32-bit pixels from -5 to -5 do not fit 16 bits"):
        read_picture(tmp_path / "i.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "png16", "tif"])
def test_orientation_is_applied(tmp_path, orientation, kind):
    from PIL import ImageOps

    pixels = noise(5, 7, 3)
    image, exif = Image.fromarray(pixels), make_exif(orientation)
    if kind == "png16":
        deep = pixels.astype(np.uint16) * 257
        (tmp_path / "a.png").write_bytes(png_16(deep, [(b"eXIf", exif[6:])]))
    else:
        image.save(tmp_path / f"a.{kind}", exif=exif)
    tagged = image.copy()
    tagged.getexif()[ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(tagged))
    got = read_picture(tmp_path / f"a.{kind[:3]}").pixels
    assert np.array_equal(got // 257 if kind == "png16" else got, expected)


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


def chunks(data):
    found, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">L", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">L", data, at + 8 + length) == (zlib.crc32(name + body),)
        found.setdefault(name, []).append(body)
        at += 12 + length
    return found


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


def test_damaged_exif_costs_the_exif_alone(tmp_path):
    for name, block in (("a", b"II*\0\xff\xff\xff\x7f"), ("b", b"garbage")):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png_16(noise(2, 2, 3, np.uint16), [(b"eXIf", block)]))
        picture = read_picture(path)
        assert picture.exif is None
        assert picture.notices == ["its EXIF data is damaged and is left out"]


def test_exif_too_long_for_jpeg_is_left_out_with_a_notice(tmp_path):
    encoding = Encoding("JPEG", 8, 8, 3, np.dtype(np.uint8), exif=b"II*\0" + b"\0" * 70_000)
    assert encoding.check() == ["its EXIF data is too long for JPEG and is left out"]
    with open_writer(tmp_path / "a.jpg", encoding) as writer:
        writer.put(noise(8, 8, 3))
    assert read_picture(tmp_path / "a.jpg").exif is None


def test_a_profile_of_another_colour_space_is_dropped(tmp_path):
    Image.fromarray(noise(4, 4, 1)[..., 0]).save(tmp_path / "a.png", icc_profile=SRGB)
    picture = read_picture(tmp_path / "a.png")
    assert picture.icc is None
    assert picture.notices == ["its RGB ICC profile does not fit grey pixels: dropped"]


def test_cmyk_becomes_rgb_and_says_so(tmp_path):
    Image.new("CMYK", (4, 4), (255, 0, 255, 0)).save(tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels[0, 0].tolist() == [0, 255, 0]
    assert picture.notices == [
        "CMYK without a usable ICC profile was converted to RGB; colours may differ"
    ]
    broken = bytearray(SRGB)
    broken[16:20] = b"CMYK"
    Image.new("CMYK", (4, 4)).save(tmp_path / "b.jpg", icc_profile=bytes(broken))
    picture = read_picture(tmp_path / "b.jpg")
    assert picture.icc is None
    assert "without a usable ICC profile" in picture.notices[0]


def test_the_first_frame_of_an_animation_is_taken_with_a_notice(tmp_path):
    frames = [Image.fromarray(noise(4, 4, 1, seed=i)[..., 0]) for i in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.pixels[..., 0], np.asarray(frames[0]))
    assert picture.notices == ["holds 3 frames; only the first is enlarged"]


def test_unreadable_files_are_named_with_the_reason(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(whole, "PNG")
    whole_16 = png_16(noise(64, 64, 3, np.uint16))
    jpeg = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(jpeg, "JPEG")
    for name, content, reason in (
        ("truncated.png", whole.getvalue()[:5000], "cannot be read: .*truncated"),
        ("truncated16.png", whole_16[:5000], "cannot be read: .*truncated"),
        ("truncated.jpg", jpeg.getvalue()[:3000], "cannot be read: .*truncated"),
        ("header.png", whole.getvalue()[:20], "cannot be read|is not an image"),
        ("text.png", b"this is not a picture", "is not an image of a kind that can be read"),
        ("empty.png", b"", "is empty"),
        ("crc.png", whole.getvalue().replace(b"IDAT", b"IDAX"), "cannot be read|is not an image"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=reason) as caught:
            read_picture(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"nothing\.png: no such file"):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(UserError, match="is a folder, not an image file"):
        read_picture(tmp_path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    header = struct.pack(">2L5B", 50_000, 50_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">L", 13)
        + b"IHDR"
        + header
        + struct.pack(">L", zlib.crc32(b"IHDR" + header))
        + struct.pack(">L", 0)
        + b"IDAT"
        + struct.pack(">L", zlib.crc32(b"IDAT"))
    )
    with pytest.raises(UserError, match=r"2500000000 pixels, above the limit of 178956970 .*--max"):
        read_picture(path)
    assert read_size(path) == (50_000, 50_000)


def test_max_pixels_raises_and_lowers_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses above 200
    Image.fromarray(noise(20, 20, 3)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", max_pixels=400).pixels.shape == (20, 20, 3)
    with pytest.raises(UserError, match="20x20 is 400 pixels, above the limit of 399"):
        read_picture(tmp_path / "a.png", max_pixels=399)
    assert Image.MAX_IMAGE_PIXELS == 100


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
