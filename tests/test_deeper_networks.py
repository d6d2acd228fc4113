"""Networks of more than three layers (TPAMI 2016, section 4.3.3): the reference, all the way up."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sample_inputs import CONVENTIONS, PADDING_MODES
from torch import Tensor, nn
from typer.testing import CliRunner

from srcnn_fused import FusedSRCNN, evaluate, functional, pretrained, reference
from srcnn_fused.cli import app
from srcnn_fused.imaging import read_picture
from srcnn_fused.training.network import receptive_radius
from srcnn_fused.upscale import upscale_bands, upscale_pixels

NETWORKS = {"9-1-1-5": (64, 32, 16), "9-3-3-3": (64, 32, 16), "9-1-1-1-5": (64, 32, 32, 16)}
HALO = {"9-1-1-5": 6, "9-3-3-3": 7, "9-1-1-1-5": 6}


def deep(name: str = "9-1-1-5", channels: int = 1, **options: object) -> FusedSRCNN:
    """Random filters whose features and output are of the image's size."""
    sizes = tuple(map(int, name.split("-")))
    options = {"backend": "reference", **options}
    model = FusedSRCNN(channels, kernel_sizes=sizes, widths=NETWORKS[name], **options)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for conv in model.convs:
            nn.init.kaiming_normal_(conv.weight, generator=generator)
            nn.init.normal_(conv.bias, std=0.05, generator=generator)
    return model.eval()


def parameters(model: FusedSRCNN) -> list[Tensor]:
    return [p for conv in model.convs for p in (conv.weight, conv.bias)]


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_but_the_last_has_a_relu(name: str, padding_mode: str) -> None:
    model = deep(name, padding_mode=padding_mode).double()
    x = torch.rand(2, 1, 11, 12, dtype=torch.float64)
    features = x
    for conv in model.convs[:-1]:
        features = conv(features).relu()
    torch.testing.assert_close(model(x), model.convs[-1](features), rtol=0, atol=1e-12)
    assert (model(x) < 0).any(), "no ReLU behind the last"


@pytest.mark.parametrize("bicubic", CONVENTIONS)
def test_the_image_is_enlarged_first(bicubic: str) -> None:
    model = deep(scale=3, bicubic=bicubic)
    x = torch.rand(1, 1, 5, 6)
    enlarged = reference.bicubic_resize(x, scale=3, convention=bicubic)
    assert torch.equal(model(x), reference.srcnn(enlarged, *parameters(model)))
    assert model(x).shape == (1, 1, 15, 18)


def test_the_layers_are_conv1_to_convn() -> None:
    model = deep("9-1-1-1-5")
    names = [f"conv{n}.{part}" for n in range(1, 6) for part in ("weight", "bias")]
    assert list(model.state_dict()) == names
    assert [conv.out_channels for conv in model.convs] == [64, 32, 32, 16, 1]
    assert model.config["widths"] == [64, 32, 32, 16]
    three = FusedSRCNN()
    assert three.convs == (three.conv1, three.conv2, three.conv3)


def test_gradients_are_right_in_every_tensor() -> None:
    model = FusedSRCNN(2, kernel_sizes=(3, 1, 3, 1), widths=(4, 3, 3)).double()
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    tensors = [p.detach().requires_grad_() for p in parameters(model)]

    def run(x: Tensor, *tensors: Tensor) -> Tensor:
        return reference.srcnn(x, *tensors, scale=2, padding_mode="replicate")

    assert torch.autograd.gradcheck(run, (x, *tensors))


def test_the_reference_serves_them_and_says_so_once(extension: None, fresh_warnings: None) -> None:
    model = deep("9-1-1-1-5", backend="auto")
    x = torch.rand(1, 1, 6, 6)
    reason = "the fused kernels have three layers, this network has 5"
    with pytest.warns(UserWarning, match=f"running the slower PyTorch reference: {reason}"):
        output = model(x)
    assert torch.equal(output, reference.srcnn(x, *parameters(model)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(x)
    model.backend = "fused"
    with pytest.raises(RuntimeError, match=f'^backend="fused" cannot run: {reason}$'):
        model(x)


def test_autocast_on_the_cpu_computes_in_the_widest_dtype() -> None:
    model = deep()
    x = torch.rand(1, 1, 7, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x.bfloat16())
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, model(x.bfloat16().float()))


def test_compiled_and_exported_they_give_the_same() -> None:
    model = deep(scale=2)
    x = torch.rand(1, 1, 6, 7)
    expected = model(x)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), expected)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), expected, rtol=0, atol=1e-6)


def swapped(index: int, tensor: Tensor) -> list[Tensor]:
    tensors = parameters(deep())
    tensors[index] = tensor
    return tensors


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (parameters(deep())[:-1], "weight4 comes without its bias"),
        (swapped(4, torch.rand(16, 31, 1, 1)), "weight3 must be [n3, 32, f, f], got [16, 31, 1"),
        (swapped(5, torch.rand(15)), "bias3 must be [16], got [15]"),
        (swapped(6, torch.rand(2, 16, 5, 5)), "weight4 must be [1, 16, f, f], got [2, 16, 5, 5]"),
        (swapped(6, torch.rand(1, 16, 4, 4)), "weight4 must have a square kernel of odd size"),
        (swapped(7, torch.rand(1).double()), "bias4 must be torch.float32 as x is, got torch.f"),
        (swapped(7, None), "bias4 must be a torch.Tensor, got NoneType"),
    ],
)
def test_layers_that_do_not_fit_are_named(tensors: list[Tensor], message: str) -> None:
    for srcnn in (functional.srcnn, reference.srcnn):
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
            srcnn(torch.rand(1, 1, 8, 8), *tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_files_hold_them_under_the_names_conv1_to_convn(name: str, tmp_path: Path) -> None:
    model = deep(name, channels=3, scale=3, padding_mode="replicate")
    model.save_pretrained(tmp_path / "ours.safetensors", metadata={"psnr": 31.5})
    loaded = FusedSRCNN.from_pretrained(tmp_path / "ours.safetensors")
    assert loaded.config == model.config
    assert pretrained.read_metadata(tmp_path / "ours.safetensors") == {"psnr": 31.5}
    state = model.state_dict()
    parallel = {f"module.{key}": value for key, value in reversed(state.items())}
    torch.save(parallel, tmp_path / "theirs.pth")
    theirs = FusedSRCNN.from_pretrained(tmp_path / "theirs.pth", backend="reference")
    assert theirs.config == model.config | {"scale": None, "padding_mode": "zeros"}
    for key, value in state.items():
        assert torch.equal(loaded.state_dict()[key], value)
        assert torch.equal(theirs.state_dict()[key], value)
    others = {key.replace("conv", "features."): value for key, value in state.items()}
    torch.save(others, tmp_path / "others.pth")
    with pytest.raises(ValueError, match="expected weight and bias of three convolutions, or of "):
        FusedSRCNN.from_pretrained(tmp_path / "others.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv4.weight": torch.rand(3, 16, 5, 5)}, "conv4.weight must be [1, 16, f, f] with odd"),
        ({"conv3.weight": torch.rand(16, 8, 1, 1)}, "conv3.weight must be [n, 32, f, f] with odd"),
        ({"conv3.bias": torch.rand(15)}, "conv3.bias must be [16], got [15]"),
        ({"conv5.weight": torch.rand(1, 1, 1, 1)}, "of conv1 to convN, got 9 tensors (conv1.w"),
        ({"conv6.bias": torch.rand(1)}, "is no SRCNN: it has conv6, but no conv5"),
    ],
)
def test_files_whose_layers_do_not_follow_are_refused(
    change: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    torch.save({**deep().state_dict(), **change}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=re.escape(message)):
        FusedSRCNN.from_pretrained(tmp_path / "bad.pth")


@pytest.mark.parametrize("name", NETWORKS)
def test_bands_of_any_height_give_the_whole_image(name: str) -> None:
    model = deep(name, scale=2, padding_mode="replicate")
    assert receptive_radius(model) == HALO[name]
    pixels = np.random.default_rng(0).integers(0, 256, (29, 17, 3), np.uint8)
    whole = upscale_pixels(pixels, model).astype(int)
    for rows in (1, 3, 8):
        bands = upscale_bands(pixels, model, band_pixels=rows * 17 * 4)
        cut = np.concatenate([band for _, band in bands]).astype(int)
        assert np.abs(cut - whole).max() <= 1  # a rounding, where a halo too thin shows 10 and more


def test_upscale_and_evaluate_take_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = deep(scale=3)
    model.save_pretrained("deep.safetensors")
    Path("images").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (30, 33, 3), np.uint8)
    Image.fromarray(pixels).save("images/a.png")
    runner = CliRunner()
    upscaled = runner.invoke(app, ["upscale", "-m", "deep.safetensors", "images/a.png", "-o", "b/"])
    assert upscaled.exit_code == 0, upscaled.output
    (made,) = Path("b").iterdir()
    assert np.array_equal(read_picture(made).pixels, upscale_pixels(pixels, model))

    evaluated = runner.invoke(
        app, ["evaluate", "-m", "deep.safetensors", "-s", "3", "--data", "images"]
    )
    assert evaluated.exit_code == 0, evaluated.output
    report = evaluate.evaluate(model, "images")
    assert f"{report.mean['srcnn']['psnr']:.2f}" in evaluated.output
