"""MATLAB's YCbCr: known colours, 8-bit rounding, and the way back."""

import numpy as np
import pytest
import torch

from srcnn_fused.colour import luma, rgb_to_ycbcr, ycbcr_to_rgb

# rgb2ycbcr of the corners of the colour cube as uint8, from the definition in decimal arithmetic:
# Y = 16 + (65.481 R + 128.553 G + 24.966 B), ... for R, G, B in {0, 1}.
CORNERS = {
    (0, 0, 0): (16, 128, 128),
    (255, 0, 0): (81, 90, 240),  # 81.481, 90.203, 240
    (0, 255, 0): (145, 54, 34),  # 144.553, 53.797, 34.214
    (0, 0, 255): (41, 240, 110),  # 40.966, 240, 109.786
    (255, 255, 0): (210, 16, 146),  # 210.034, 16, 146.214
    (255, 0, 255): (106, 202, 222),  # 106.447, 202.203, 221.786
    (0, 255, 255): (170, 166, 16),  # 169.519, 165.797, 16
    (255, 255, 255): (235, 128, 128),
}


def pixel(values, dtype=torch.uint8):
    return torch.tensor(values, dtype=dtype).reshape(3, 1, 1)


@pytest.mark.parametrize(("rgb", "ycbcr"), CORNERS.items())
def test_cube_corners_have_the_documented_8_bit_values(rgb, ycbcr):
    got = rgb_to_ycbcr(pixel(rgb))
    assert got.dtype == torch.uint8
    assert tuple(got.flatten().tolist()) == ycbcr
    assert luma(pixel(rgb)).item() == ycbcr[0]


def test_float_is_the_definition_without_rounding():
    got = rgb_to_ycbcr(pixel((1, 0, 0), torch.float64)).flatten() * 255
    assert got.tolist() == pytest.approx([81.481, 90.203, 240.0], abs=1e-12)


def test_grey_spans_studio_swing():
    ramp = torch.linspace(0, 1, 11, dtype=torch.float64).expand(3, 1, 11)
    got = rgb_to_ycbcr(ramp) * 255
    torch.testing.assert_close(got[0, 0], 16 + 219 * torch.linspace(0, 1, 11, dtype=torch.float64))
    torch.testing.assert_close(got[1:], torch.full((2, 1, 11), 128.0, dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_there_and_back_in_floating_point(dtype, tolerance):
    rgb = torch.rand(2, 3, 5, 7, dtype=dtype, generator=torch.Generator().manual_seed(0))
    back = ycbcr_to_rgb(rgb_to_ycbcr(rgb))
    assert back.dtype == dtype
    assert (back - rgb).abs().max().item() <= tolerance


def test_8_bit_equals_the_rounded_float():
    rgb = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 64, 64), dtype=np.uint8))
    exact = rgb_to_ycbcr(rgb.double() / 255) * 255
    assert torch.equal(rgb_to_ycbcr(rgb), (exact + 0.5).floor().to(torch.uint8))
    assert torch.equal(luma(rgb), rgb_to_ycbcr(rgb)[:1])


def test_8_bit_way_back_saturates_and_stays_within_rounding():
    rgb = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (3, 64, 64), dtype=np.uint8))
    back = ycbcr_to_rgb(rgb_to_ycbcr(rgb))
    assert (back.int() - rgb.int()).abs().max().item() <= 2
    assert ycbcr_to_rgb(pixel((255, 128, 128))).flatten().tolist() == [255, 255, 255]
    assert ycbcr_to_rgb(pixel((0, 128, 128))).flatten().tolist() == [0, 0, 0]


def test_floating_point_is_not_clipped():
    assert ycbcr_to_rgb(pixel((1, 128 / 255, 128 / 255), torch.float64)).max().item() > 1.09


def test_gradients_flow():
    rgb = torch.rand(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rgb_to_ycbcr, rgb)
    assert torch.autograd.gradcheck(ycbcr_to_rgb, rgb)


@pytest.mark.parametrize("function", [rgb_to_ycbcr, luma])
def test_wrong_shape_and_dtype_are_named(function):
    with pytest.raises(ValueError, match=r"rgb must be \[\.\.\., 3, H, W\], got \[1, 4, 4\]"):
        function(torch.zeros(1, 4, 4))
    with pytest.raises(
        ValueError, match=r"rgb must be floating point in \[0, 1\] or uint8, got torch.int32"
    ):
        function(torch.zeros(3, 4, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"ycbcr must be \[\.\.\., 3, H, W\], got \[3\]"):
        ycbcr_to_rgb(torch.zeros(3))
