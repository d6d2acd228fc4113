"""The metrics against formulas written out in NumPy, and against torchmetrics."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional import image as torchmetrics

from srcnn_fused import metrics


def images(height=40, width=50, seed=0):
    """A smooth picture and a noisy copy, in [0, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, height // 5 + 1, width // 5 + 1, generator=generator)
    size = (height, width)
    smooth = torch.nn.functional.interpolate(coarse.double(), size=size, mode="bilinear")[0, 0]
    noise = 0.1 * torch.randn(size, generator=generator, dtype=torch.float64)
    return (smooth + noise).clamp(0, 1), smooth


def gaussian_window():
    t = np.arange(11) - 5
    g = np.exp(-(t**2) / (2 * 1.5**2))
    return np.outer(g, g) / np.outer(g, g).sum()


def ssim_maps(a, b, peak):
    """Luminance and contrast-structure terms of Wang et al. 2004, windows inside the image."""
    window = gaussian_window()

    def blur(x):
        return (np.lib.stride_tricks.sliding_window_view(x, (11, 11)) * window).sum((-1, -2))

    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (var_a + var_b + c2)


def test_psnr_is_ten_log_of_peak_over_mse():
    a, b = images()
    mse = ((a - b).numpy() ** 2).mean()
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(1 / mse), abs=1e-7)
    assert metrics.psnr(a * 255, b * 255, data_range=255) == pytest.approx(metrics.psnr(a, b))


def test_psnr_of_8_bit_images_takes_255_as_white_and_does_not_wrap():
    dark = torch.zeros(4, 4, dtype=torch.uint8)
    light = torch.full((4, 4), 200, dtype=torch.uint8)
    assert metrics.psnr(dark, light) == pytest.approx(20 * math.log10(255 / 200))
    assert metrics.psnr(light, dark) == metrics.psnr(dark, light)


def test_psnr_of_equal_images_is_infinite():
    a, _ = images()
    assert metrics.psnr(a, a) == math.inf


@pytest.mark.parametrize("size", [(11, 11), (12, 40), (37, 53)], ids=str)
def test_ssim_equals_the_formula(size):
    a, b = images(*size)
    luminance, contrast = ssim_maps(a.numpy(), b.numpy(), 1.0)
    assert metrics.ssim(a, b) == pytest.approx((luminance * contrast).mean(), abs=1e-12)
    assert metrics.ssim(a, a) == pytest.approx(1.0)


def ms_ssim_formula(x, y, peak):
    """Wang et al. 2003; the last scale with mirrored edges."""
    result = 1.0
    for weight in (0.0448, 0.2856, 0.3001, 0.2363):
        result *= max(ssim_maps(x, y, peak)[1].mean(), 0) ** weight
        x, y = (v[: v.shape[0] // 2 * 2, : v.shape[1] // 2 * 2] for v in (x, y))
        x, y = (v.reshape(v.shape[0] // 2, 2, -1, 2).mean((1, 3)) for v in (x, y))
    luminance, contrast = ssim_maps(np.pad(x, 5, "reflect"), np.pad(y, 5, "reflect"), peak)
    return result * max((luminance * contrast).mean(), 0) ** 0.1333


@pytest.mark.parametrize("size", [(176, 192), (179, 201)], ids=str)
def test_ms_ssim_equals_the_formula(size):
    a, b = images(*size)
    assert metrics.ms_ssim(a, b) == pytest.approx(
        ms_ssim_formula(a.numpy(), b.numpy(), 1.0), abs=1e-12
    )
    assert metrics.ms_ssim(a, a) == pytest.approx(1.0)


def test_ms_ssim_counts_negative_contrast_as_zero():
    a, _ = images(176, 176)
    assert ms_ssim_formula(a.numpy(), 1 - a.numpy(), 1.0) == 0
    assert metrics.ms_ssim(a, 1 - a) == 0


@pytest.mark.parametrize("shape", [(1, 1, 176, 177), (2, 2, 181, 176)], ids=str)
def test_8_bit_images_and_batches_score_as_in_torchmetrics(shape):
    a, b = (torch.stack([image] * shape[1])[None] for image in images(*shape[2:]))
    a = torch.cat([a, a.flip(1).roll(3, -1)])[: shape[0]].mul(255).round().to(torch.uint8)
    b = torch.cat([b, b * 0.9])[: shape[0]].mul(255).round().to(torch.uint8)
    x, y = a.double(), b.double()
    _, indices = torchmetrics.structural_similarity_index_measure(
        x, y, data_range=255.0, return_full_image=True
    )
    # Its own mean takes in windows that reach over the edge.
    inside = indices[..., 5:-5, 5:-5].mean()
    assert metrics.ssim(a, b) == pytest.approx(inside.item(), abs=1e-7)
    expected = torchmetrics.multiscale_structural_similarity_index_measure(
        x, y, data_range=255.0, normalize="relu"
    )
    assert metrics.ms_ssim(a, b) == pytest.approx(expected.item(), abs=1e-7)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ms_ssim])
def test_shapes_of_two_three_and_four_dimensions_agree(metric):
    a, b = images(176, 176)
    value = metric(a, b)
    assert metric(a[None], b[None]) == value
    assert metric(a[None, None], b[None, None]) == value


def test_ms_ssim_takes_its_smallest_size():
    side = metrics.MS_SSIM_MIN_SIDE
    a, b = images(side, side)
    assert 0 < metrics.ms_ssim(a, b) < 1


@pytest.mark.parametrize(
    ("metric", "shape", "message"),
    [
        (metrics.ssim, (10, 40), r"ssim needs images of at least 11x11 pixels, got 40x10"),
        (metrics.ms_ssim, (175, 300), r"ms_ssim needs images of at least 176x176 .* got 300x175"),
        (metrics.psnr, (0, 4), r"prediction must not be empty, got \[0, 4\]"),
        (metrics.psnr, (4,), r"prediction must be \[H, W\], .* got \[4\]"),
    ],
)
def test_unsuitable_images_are_refused(metric, shape, message):
    with pytest.raises(ValueError, match=message):
        metric(torch.zeros(shape), torch.zeros(shape))


def test_mismatched_arguments_are_refused():
    a = torch.zeros(4, 4)
    with pytest.raises(ValueError, match=r"same shape, got \[4, 4\] and \[4, 5\]"):
        metrics.psnr(a, torch.zeros(4, 5))
    with pytest.raises(ValueError, match="data_range must be given for two dtypes"):
        metrics.psnr(a, a.to(torch.uint8))
    with pytest.raises(ValueError, match="data_range must be positive, got 0"):
        metrics.psnr(a, a, data_range=0)
