"""The papers' protocol: against the published bicubic figures, and on images made here."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from srcnn_fused import FusedSRCNN, colour, evaluate, metrics, pretrained
from srcnn_fused.comparison import comparison_sheet
from srcnn_fused.errors import UserError


def picture(height, width, seed=0, channels=3):
    """Blurred noise: something bicubic can enlarge tolerably."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, height // 6 + 1, width // 6 + 1, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return smooth[0].clamp(0, 1).mul(255).round().to(torch.uint8)


def write(path, image):
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)


def identity(scale, num_channels=1, **options):
    """A network that hands its enlarged input on: its result is bicubic's."""
    model = FusedSRCNN(num_channels, kernel_sizes=(9, 1, 5), scale=scale, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for conv in (model.conv1, model.conv2, model.conv3):
            middle = conv.kernel_size[0] // 2
            for channel in range(num_channels):
                conv.weight[channel, channel, middle, middle] = 1
    return model


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [("Set5", 2, 33.66), ("Set5", 3, 30.39), ("Set5", 4, 28.42), ("Set14", 3, 27.54)],
)
def test_bicubic_reaches_exactly_the_published_figures(image_sets, name, scale, expected):
    values = []
    for sample in evaluate.load_samples(image_sets / name, scale):
        shaved = (evaluate.shave(i, scale, "") for i in (sample.enlarged, sample.truth))
        values.append(metrics.psnr(*shaved))
    assert round(math.fsum(values) / len(values), 2) == expected


@pytest.mark.parametrize(("scale", "floor"), [(2, 36.0), (3, 32.0), (4, 29.8)])
def test_shipped_models_reach_their_floor_on_set5(image_sets, scale, floor):
    model = FusedSRCNN.from_pretrained(f"9-1-5-x{scale}", backend="reference")
    samples = evaluate.load_samples(image_sets / "Set5", scale)
    psnr = evaluate.mean_psnr(model, samples, scale)
    assert psnr >= floor
    claimed = pretrained.read_metadata(f"9-1-5-x{scale}")["training"]["val_psnr"]
    assert psnr == pytest.approx(claimed, abs=1e-3)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_an_identity_network_scores_as_bicubic(tmp_path, num_channels):
    write(tmp_path / "colour.png", picture(50, 47))
    write(tmp_path / "grey.png", picture(40, 61, seed=1, channels=1))
    report = evaluate.evaluate(identity(3, num_channels), tmp_path, name="identity")
    assert report.model == "identity"
    assert list(report.images) == ["colour", "grey"]
    # RGB is rounded to 8 bits before its luma is taken, luma alone once.
    tolerance = 1e-3 if num_channels == 1 else 0.1
    for scores in report.images.values():
        assert scores["srcnn"]["psnr"] == pytest.approx(scores["bicubic"]["psnr"], abs=tolerance)
        assert scores["srcnn"]["ssim"] == pytest.approx(scores["bicubic"]["ssim"], abs=1e-2)


def test_bicubic_reaches_the_published_ssim_and_figures_in_colour(image_sets):
    report = evaluate.evaluate(identity(3), image_sets / "Set5", colour=True)
    mean = report.mean["bicubic"]
    assert round(mean["ssim"], 4) == 0.8682
    # Table 5 of TPAMI: 30.39, 45.44, 45.42, and 34.57 for the "RGB color image".
    assert mean["psnr"] == pytest.approx(30.39, abs=0.005)
    assert mean["psnr_cb"] == pytest.approx(45.44, abs=0.015)
    assert mean["psnr_cr"] == pytest.approx(45.42, abs=0.005)
    assert mean["psnr_ycbcr"] == pytest.approx(34.57, abs=0.005)
    # This network hands luma on, and leaves the chroma to bicubic.
    for metric in ("psnr_cb", "psnr_cr"):
        assert report.mean["srcnn"][metric] == mean[metric]


def test_colour_of_an_rgb_network_is_its_own(tmp_path):
    image = picture(42, 45)
    write(tmp_path / "colour.png", image)
    write(tmp_path / "grey.png", picture(40, 61, seed=1, channels=1))
    outputs = {}
    report = evaluate.evaluate(
        identity(3, 3), tmp_path, on_image=lambda s, output, _: outputs.update({s.name: output})
    )
    assert report.metrics == [*evaluate.METRICS, *evaluate.COLOUR_METRICS]
    output, inner = outputs["colour"], (..., slice(3, -3), slice(3, -3))
    assert output.shape == image.shape
    scores = report.images["colour"]["srcnn"]
    assert scores["psnr_rgb"] == metrics.psnr(output[inner], image[inner])
    ours, truth = (colour.rgb_to_ycbcr(rgb)[inner] for rgb in (output, image))
    assert scores["psnr"] == metrics.psnr(ours[0], truth[0])
    assert scores["psnr_cb"] == metrics.psnr(ours[1], truth[1])
    assert scores["psnr_cr"] == metrics.psnr(ours[2], truth[2])
    assert scores["psnr_ycbcr"] == metrics.psnr(ours, truth)
    # Grey images have no colour; the means are over the others.
    assert report.images["grey"]["srcnn"]["psnr_rgb"] is None
    assert report.mean["srcnn"]["psnr_rgb"] == scores["psnr_rgb"]


def test_colour_is_left_out_on_request(tmp_path):
    write(tmp_path / "a.png", picture(30, 30))
    report = evaluate.evaluate(identity(3, 3), tmp_path, colour=False)
    assert report.metrics == list(report.mean["srcnn"]) == list(evaluate.METRICS)


def test_the_protocol_step_by_step(tmp_path):
    image = picture(32, 41)
    sample = evaluate.prepare("x", image, 3)
    assert sample.image.shape == (3, 30, 39)
    red, green, blue = image[:, :30, :39].double()
    luma = ((65.481 * red + 128.553 * green + 24.966 * blue) / 255 + 16).round()
    assert torch.equal(sample.truth, luma.to(torch.uint8))
    assert sample.low.shape == (1, 1, 10, 13)
    assert sample.low.dtype == torch.float32
    # Not rounded on the way: low * 255 is no integer.
    assert not torch.allclose(sample.low * 255, (sample.low * 255).round(), atol=1e-3)


def test_results_are_clipped_and_rounded_to_8_bits():
    values = torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.7, math.nan])
    assert evaluate.to_8_bits(values).tolist() == [0, 0, 0, 1, 255, 255, 0]


def test_the_border_is_the_scale_unless_given(tmp_path):
    image = picture(40, 40)
    write(tmp_path / "a.png", image)
    sample = evaluate.prepare("a", image, 4)
    for border in (None, 0, 7):
        report = evaluate.evaluate(identity(4), tmp_path, border=border)
        cut = 4 if border is None else border
        inner = slice(cut, 40 - cut)
        expected = metrics.psnr(sample.enlarged[inner, inner], sample.truth[inner, inner])
        assert report.images["a"]["bicubic"]["psnr"] == pytest.approx(expected)


@pytest.mark.parametrize("bicubic", ["pil", "torch"])
def test_the_convention_changes_the_protocol(tmp_path, bicubic):
    write(tmp_path / "a.png", picture(48, 48))
    ours = evaluate.evaluate(identity(3, bicubic=bicubic), tmp_path, bicubic=bicubic)
    matlab = evaluate.evaluate(identity(3), tmp_path)
    scores = ours.images["a"]
    assert scores["srcnn"]["psnr"] == pytest.approx(scores["bicubic"]["psnr"], abs=0.02)
    assert scores["bicubic"]["psnr"] != matlab.images["a"]["bicubic"]["psnr"]


def test_json_has_the_agreed_structure(tmp_path):
    write(tmp_path / "small.png", picture(40, 40))
    write(tmp_path / "wide.png", picture(200, 210))
    report = evaluate.evaluate(identity(2), tmp_path, name="some-model")
    content = json.loads(report.to_json())
    assert list(content) == ["dataset", "scale", "model", "images", "mean"]
    assert (content["dataset"], content["scale"], content["model"]) == (
        tmp_path.name,
        2,
        "some-model",
    )
    assert list(content["images"]) == ["small", "wide"]
    for scores in (*content["images"].values(), content["mean"]):
        assert list(scores) == ["bicubic", "srcnn"]
        assert all(list(values) == ["psnr", "ssim", "ms_ssim"] for values in scores.values())
    psnr = [content["images"][name]["bicubic"]["psnr"] for name in ("small", "wide")]
    assert content["mean"]["bicubic"]["psnr"] == pytest.approx(sum(psnr) / 2)
    # Too small for MS-SSIM: none for that image, and the mean is over the others.
    assert content["images"]["small"]["srcnn"]["ms_ssim"] is None
    wide = content["images"]["wide"]["srcnn"]["ms_ssim"]
    assert content["mean"]["srcnn"]["ms_ssim"] == pytest.approx(wide)


def test_equal_images_are_null_in_json(tmp_path):
    write(tmp_path / "flat.png", torch.full((1, 40, 40), 90, dtype=torch.uint8))
    report = evaluate.evaluate(identity(2), tmp_path)
    assert report.images["flat"]["bicubic"]["psnr"] == math.inf
    assert json.loads(report.to_json())["images"]["flat"]["bicubic"]["psnr"] is None


def test_images_of_the_same_stem_keep_their_suffix(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        write(tmp_path / name, picture(24, 24))
    report = evaluate.evaluate(identity(2), tmp_path)
    assert list(report.images) == ["a.bmp", "a.png", "b"]


def test_images_that_are_too_small_are_named(tmp_path):
    write(tmp_path / "tiny.png", picture(2, 40))
    with pytest.raises(UserError, match="tiny is too small to be shrunk by 3"):
        evaluate.evaluate(identity(3), tmp_path)
    write(tmp_path / "tiny.png", picture(6, 40))
    with pytest.raises(UserError, match="tiny is 39x6: nothing is left inside a border of 3"):
        evaluate.evaluate(identity(3), tmp_path)


def test_a_model_without_scale_is_refused(tmp_path):
    with pytest.raises(ValueError, match="model must have a scale, got scale=None"):
        evaluate.evaluate(identity(None), tmp_path)


def test_the_sheet_of_an_rgb_network_shows_its_colours():
    image = picture(90, 240)
    sample = evaluate.prepare("x", image, 3, num_channels=3)
    scores = {name: {"psnr": 31.25, "ssim": 1.0, "ms_ssim": None} for name in ("bicubic", "srcnn")}
    pixels = np.asarray(comparison_sheet(sample, image.flip(0), scores))
    panel = torch.from_numpy(pixels[-90:, 248 : 248 + 240].copy()).permute(2, 0, 1)
    assert torch.equal(panel, image.flip(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_bicubic_network_and_truth(channels):
    image = picture(90, 120, channels=channels)
    sample = evaluate.prepare("x", image, 3)
    scores = {name: {"psnr": 31.25, "ssim": 1.0, "ms_ssim": None} for name in ("bicubic", "srcnn")}
    sheet = comparison_sheet(sample, sample.truth[None], scores)
    pixels = np.asarray(sheet).astype(int)
    panel_width = (sheet.width - 16) // 3
    left = (panel_width - 120) // 2
    panels = [pixels[-90:, i * (panel_width + 8) + left :][:, :120] for i in range(3)]
    truth = image.expand(3, -1, -1).permute(1, 2, 0).numpy().astype(int)
    np.testing.assert_array_equal(panels[2], truth)
    # The second panel has the true luma, so is nearer to the truth than bicubic.
    errors = [np.abs(panel - truth).mean() for panel in panels]
    assert errors[0] > errors[1] >= errors[2] == 0
    assert (pixels[: sheet.height - 90] < 100).any()  # captions


def test_the_caption_of_a_thumbnail_fits():
    sample = evaluate.prepare("x", picture(20, 20), 2)
    scores = {
        name: {"psnr": math.inf, "ssim": 1.0, "ms_ssim": None} for name in ("bicubic", "srcnn")
    }
    sheet = comparison_sheet(sample, sample.truth[None], scores)
    assert sheet.width > 3 * 20 + 16
    assert (np.asarray(sheet)[:, [0, -1]] == 255).all()  # nothing cut off at the edges
