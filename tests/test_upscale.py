"""Banded enlargement: equal to the whole image at once, in every colour layout and depth."""

import itertools

import numpy as np
import pytest
import torch

from srcnn_fused import FusedSRCNN, colour, reference, upscale
from srcnn_fused.upscale import upscale_bands, upscale_pixels


def make_model(num_channels=1, scale=3, kernel_sizes=(9, 1, 5), **options):
    """A network that sharpens a little: an identity plus small random weights."""
    torch.manual_seed(0)
    model = FusedSRCNN(num_channels, kernel_sizes=kernel_sizes, scale=scale, **options)
    with torch.no_grad():
        for conv in (model.conv1, model.conv2, model.conv3):
            conv.weight.mul_(0.3)
            conv.bias.mul_(0.3)
            center = conv.weight.shape[-1] // 2
            for channel in range(num_channels):
                conv.weight[channel, channel, center, center] += 1
    return model.eval()


def make_pixels(height, width, channels, dtype=np.uint8, seed=0):
    """Smooth colours with edges, and all of the range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (2 + c) + c) * np.cos(y / (3 + c)) for c in range(channels)]
    image = 0.5 + 0.55 * np.stack(waves, axis=2) + 0.05 * rng.standard_normal((height, width, 1))
    image[height // 3 : height // 2, width // 3 :] = rng.random(channels)
    top = np.iinfo(dtype).max
    return np.clip(np.rint(image * top), 0, top).astype(dtype)


def whole(pixels, model, alpha=False):
    """The same result from the whole image at once, in float64 where it matters, unrounded."""
    source = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    source /= np.iinfo(pixels.dtype).max
    shades = source[:, :-1] if alpha else source
    double = FusedSRCNN(
        model.num_channels,
        kernel_sizes=model.kernel_sizes,
        scale=model.scale,
        bicubic=model.bicubic,
        padding_mode=model.padding_mode,
        backend="reference",
        dtype=torch.float64,
    )
    double.load_state_dict(model.state_dict())

    def enlarge(planes):
        return reference.bicubic_resize(planes, scale=model.scale, convention=model.bicubic)

    with torch.no_grad():
        if model.num_channels == 3:
            out = double(shades)
        elif shades.shape[1] == 3:
            ycbcr = colour.rgb_to_ycbcr(shades)
            parts = (double(ycbcr[:, :1]), enlarge(ycbcr[:, 1:]))
            out = colour.ycbcr_to_rgb(torch.cat(parts, 1))
        else:
            out = (double((16 + 219 * shades) / 255) * 255 - 16) / 219
        if alpha:
            out = torch.cat((out, enlarge(source[:, -1:])), 1)
    return out[0].permute(1, 2, 0).numpy()


def assert_rounded(got, expected):
    """Every pixel is the nearest integer to the float64 result; near a tie, either neighbour."""
    top = np.iinfo(got.dtype).max
    distance = np.abs(got - np.clip(expected, 0, 1) * top)
    assert distance.max() < (0.51 if top == 255 else 0.8)


def collect(bands):
    """Joins bands, checking that they follow one another."""
    row, parts = 0, []
    for start, band in bands:
        assert start == row
        row += len(band)
        parts.append(band)
    return np.concatenate(parts)


# (channels of the network, of the image): a grey image through an RGB network has its own test.
CASES = [
    (*channels, scale, padding_mode)
    for channels, scale in itertools.product(((1, 1), (1, 3), (3, 3)), (2, 3, 4))
    for padding_mode in (("zeros", "replicate") if scale == 3 else ("zeros",))
]


@pytest.mark.parametrize(("num_channels", "channels", "scale", "padding_mode"), CASES)
def test_bands_equal_the_whole_image(num_channels, channels, scale, padding_mode):
    model = make_model(num_channels, scale, padding_mode=padding_mode)
    pixels = make_pixels(29, 15, channels)
    expected = whole(pixels, model)
    for rows in (4, 13, 100):
        got = collect(upscale_bands(pixels, model, band_pixels=rows * scale * scale * 15))
        assert got.shape == (29 * scale, 15 * scale, channels)
        assert got.dtype == np.uint8
        assert_rounded(got, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_bands_are_pixel_for_pixel_the_same_in_float64(channels):
    model = make_model(kernel_sizes=(9, 5, 5), backend="reference").double()
    pixels = make_pixels(31, 13, channels)
    expected = np.clip(np.floor(whole(pixels, model) * 255 + 0.5), 0, 255)
    for rows in (2, 11):
        got = collect(upscale_bands(pixels, model, band_pixels=rows * 9 * 13))
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("bicubic", ["matlab", "pil", "torch"])
@pytest.mark.parametrize("kernel_sizes", [(9, 3, 5), (9, 5, 5)])
def test_bands_equal_the_whole_image_in_every_convention(bicubic, kernel_sizes):
    model = make_model(kernel_sizes=kernel_sizes, bicubic=bicubic)
    pixels = make_pixels(29, 17, 3)
    got = collect(upscale_bands(pixels, model, band_pixels=5 * 9 * 17))
    assert_rounded(got, whole(pixels, model))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_keep_their_precision_through_the_bands(channels):
    model = make_model()
    pixels = make_pixels(33, 21, channels, np.uint16)
    got = collect(upscale_bands(pixels, model, band_pixels=4 * 9 * 21))
    assert got.dtype == np.uint16
    assert_rounded(got, whole(pixels, model))


def test_16_bits_in_and_8_out_are_rounded_once():
    model = make_model()
    pixels = make_pixels(15, 11, 3, np.uint16)
    got = upscale_pixels(pixels, model, dtype=np.uint8)
    assert_rounded(got, whole(pixels, model))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_enlarged_by_bicubic_and_leaves_visible_colours_alone(channels):
    model = make_model()
    pixels = make_pixels(25, 19, channels)
    pixels[..., -1] = np.maximum(pixels[..., -1], 1)
    got = collect(upscale_bands(pixels, model, alpha=True, band_pixels=3 * 9 * 19))
    assert_rounded(got, whole(pixels, model, True))


def test_hidden_colours_do_not_bleed_into_an_edge():
    model = make_model()
    pixels = np.zeros((30, 30, 4), np.uint8)
    pixels[8:22, 8:22] = (200, 120, 60, 255)  # transparent black around it
    opaque = np.full((30, 30, 3), (200, 120, 60), np.uint8)
    visible = upscale_pixels(pixels, model, alpha=True)
    plain = upscale_pixels(opaque, model)
    inside = visible[..., 3] > 0
    assert inside.sum() > 42 * 42
    assert np.abs(visible[inside][:, :3].astype(int) - plain[45, 45]).max() <= 1
    banded = collect(upscale_bands(pixels, model, alpha=True, band_pixels=7 * 9 * 30))
    assert np.abs(banded.astype(int) - visible).max() <= 1
    assert np.array_equal(banded[..., 3], visible[..., 3])


def test_a_grey_image_and_its_rgb_copy_agree():
    grey = make_pixels(20, 22, 1) // 2 + 60  # nothing is clipped
    for num_channels in (1, 3):
        model = make_model(num_channels)
        alone = upscale_pixels(grey, model)
        copy = upscale_pixels(np.repeat(grey, 3, axis=2), model)
        luma = copy.astype(float) @ np.array([65.481, 128.553, 24.966]) / 219
        assert np.abs(alone[..., 0] - luma).max() <= 1


def test_a_wide_image_still_gives_bands_of_at_least_one_row():
    model = make_model(scale=2)
    pixels = make_pixels(3, 400, 1)
    got = collect(upscale_bands(pixels, model, band_pixels=10))
    assert_rounded(got, whole(pixels, model))


def test_a_reference_model_works_in_small_bands(monkeypatch):
    heights = []
    run = upscale._run_network
    monkeypatch.setattr(
        upscale, "_run_network", lambda s, *rest: heights.append(s.shape[-2]) or run(s, *rest)
    )
    pixels = make_pixels(200, 64, 1)
    model = make_model(backend="reference")
    got = upscale_pixels(pixels, model)
    assert len(heights) > 1
    assert max(heights) * 64 * 9 < 150_000
    assert_rounded(got, whole(pixels, model))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 0), (torch.bfloat16, 4)])
def test_models_of_other_dtypes(dtype, tolerance):
    model = make_model().to(dtype)
    model.backend = "reference"
    pixels = make_pixels(13, 12, 3)
    got = upscale_pixels(pixels, model)
    expected = np.clip(np.floor(whole(pixels, model) * 255 + 0.5), 0, 255)
    assert np.abs(got - expected).max() <= tolerance


def test_bad_arguments_are_named():
    model = make_model()
    good = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="pixels must be uint8 or uint16, got float32"):
        upscale_bands(good.astype(np.float32), model)
    with pytest.raises(ValueError, match=r"pixels must be \[H, W, 1 or 3\].*got \[2, 2, 4\]"):
        upscale_bands(np.zeros((2, 2, 4), np.uint8), model)
    with pytest.raises(ValueError, match=r"pixels must be \[H, W, 2 or 4\].*got \[2, 2, 3\]"):
        upscale_bands(good, model, alpha=True)
    with pytest.raises(ValueError, match=r"not empty, got \[0, 2, 3\]"):
        upscale_bands(good[:0], model)
    with pytest.raises(ValueError, match="dtype must be uint8 or uint16, got int64"):
        upscale_bands(good, model, dtype=np.int64)
    with pytest.raises(ValueError, match=r"model\.scale must be a positive integer, got None"):
        upscale_bands(good, make_model(scale=None))
    with pytest.raises(ValueError, match="model must have 1 or 3 channels, got 2"):
        upscale_bands(good, FusedSRCNN(2, widths=(2, 2), scale=2))
