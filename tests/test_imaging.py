"""Image files of every kind: what they decode to, and what is written back."""

import io
import struct
import zlib

import numpy as np
import pytest
from image_files import ORIENTATION, SRGB, damaged_exif, make_exif, noise, png_16, tiff_16
from PIL import Image

from srcnn_fused.errors import UserError
from srcnn_fused.imaging import Encoding, open_writer, read_picture, read_size


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


def test_damaged_exif_costs_the_exif_alone(tmp_path):
    blocks = [b"II*\0\xff\xff\xff\x7f", b"garbage", *map(damaged_exif, ("magic", "type"))]
    for name, block in enumerate(blocks):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png_16(noise(2, 2, 3, np.uint16), [(b"eXIf", block)]))
        picture = read_picture(path)
        assert picture.exif is None
        assert picture.notices == ["its EXIF data is damaged and is left out"]


def test_a_picture_whose_exif_no_tiff_can_hold_is_written_without_it(tmp_path):
    for damage in ("magic", "type"):
        source, target = tmp_path / f"{damage}.jpg", tmp_path / f"{damage}.tif"
        exif = b"Exif\0\0" + damaged_exif(damage)
        Image.fromarray(noise(2, 2, 3)).save(source, exif=exif)
        picture = read_picture(source)
        encoding = Encoding("TIFF", 2, 2, 3, np.dtype(np.uint8), exif=picture.exif)
        with open_writer(target, encoding) as writer:
            writer.put(picture.pixels)
        assert np.array_equal(read_picture(target).pixels, picture.pixels)


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
