"""`srcnn-fused evaluate`, as it is typed."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from srcnn_fused import FusedSRCNN, pretrained
from srcnn_fused.cli import app


@pytest.fixture
def run():
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    return lambda *words: runner.invoke(app, ["evaluate", *map(str, words)])


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("small", 48), ("wide", 200)):
        rows, columns = np.mgrid[:size, :size]
        rings = 127 + 100 * np.sin((rows**2 + columns**2) / (3 * size))
        rgb = np.stack([rings, rings.T, 255 - rings], axis=-1).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{name}.png")
    return folder


def port():
    """What the public ports train: three Conv2d, kernels 9-5-5, zeros around the image."""
    torch.manual_seed(0)
    model = nn.Module()
    model.conv1 = nn.Conv2d(1, 64, 9, padding=4)
    model.conv2 = nn.Conv2d(64, 32, 5, padding=2)
    model.conv3 = nn.Conv2d(32, 1, 5, padding=2)
    return model


def test_the_table_and_the_json_agree(run, images, tmp_path):
    model = tmp_path / "net.safetensors"
    FusedSRCNN(kernel_sizes=(9, 1, 5), scale=3, padding_mode="replicate").save_pretrained(model)
    result = run("--data", images, "-s", 3, "-m", model, "--json", tmp_path / "scores.json")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["dataset"] == "images"
    assert scores["scale"] == 3
    assert scores["model"] == str(model)
    for name in ("small", "wide"):
        (line,) = [line for line in result.stdout.splitlines() if f" {name} " in line]
        for method in ("bicubic", "srcnn"):
            assert f" {scores['images'][name][method]['psnr']:.2f} " in line
            assert f" {scores['images'][name][method]['ssim']:.4f} " in line
    assert "no MS-SSIM for images under 176 pixels a side (border shaved): small" in result.stdout


def test_a_port_is_read_off_its_shapes_and_the_flags_say_the_rest(run, images, tmp_path):
    torch.save(port().state_dict(), tmp_path / "port.pth")
    flags = ("--data", images, "-s", 2, "-m", tmp_path / "port.pth", "--backend", "reference")
    psnr = {}
    for name, extra in (
        ("default", ()),
        ("zeros", ("--padding-mode", "zeros", "--border", 2, "--bicubic", "matlab")),
        ("replicate", ("--padding-mode", "replicate")),
        ("border", ("--border", 12)),
        ("pil", ("--bicubic", "pil")),
    ):
        result = run(*flags, *extra, "--json", tmp_path / f"{name}.json")
        assert result.exit_code == 0, result.output
        psnr[name] = json.loads((tmp_path / f"{name}.json").read_text())["mean"]["srcnn"]["psnr"]
    assert psnr["default"] == psnr["zeros"]
    assert len({psnr[name] for name in ("zeros", "replicate", "border", "pil")}) == 4


def test_pictures_are_saved_beside_each_other(run, images, tmp_path):
    model = tmp_path / "net.safetensors"
    FusedSRCNN(kernel_sizes=(9, 1, 5), scale=4).save_pretrained(model)
    result = run("--data", images, "-s", 4, "-m", model, "--save", tmp_path / "new" / "sheets")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "new" / "sheets").iterdir())
    assert names == ["small-x4.png", "wide-x4.png"]
    with Image.open(tmp_path / "new" / "sheets" / "wide-x4.png") as sheet:
        assert sheet.width >= 3 * 200


def test_a_model_of_another_scale_is_measured_and_pointed_out(run, images, tmp_path):
    model = tmp_path / "net.safetensors"
    FusedSRCNN(kernel_sizes=(9, 1, 5), scale=3).save_pretrained(model)
    result = run("--data", images, "-s", 2, "-m", model)
    assert result.exit_code == 0, result.output
    note = f"srcnn-fused: note: {model} was made for x3, and is run at x2\n"
    assert result.stderr.endswith(note)


def test_a_shipped_network_is_found_by_its_name_and_the_scale(run, images):
    result = run("--data", images, "-s", 3, "-m", "9-1-5")
    assert result.exit_code == 0, result.output
    assert "images x3, 9-1-5" in result.stdout
    assert "made for" not in result.stderr


def test_an_rgb_model_is_found_by_name_and_measured_in_colour(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    file = tmp_path / "9-1-5-x3-rgb.safetensors"
    FusedSRCNN(3, kernel_sizes=(9, 1, 5), scale=3).save_pretrained(file)
    (images / "wide.png").unlink()
    flags = ("--data", images, "-s", 3, "-m", "9-1-5-rgb", "--json", tmp_path / "scores.json")
    result = run(*flags)
    assert result.exit_code == 0, result.output
    (scores,) = json.loads((tmp_path / "scores.json").read_text())["images"].values()
    luma, colours = (line for line in result.stdout.splitlines() if " small " in line)
    assert f" {scores['srcnn']['psnr']:.2f} " in luma
    for metric in ("psnr_cb", "psnr_cr", "psnr_ycbcr", "psnr_rgb"):
        assert f" {scores['bicubic'][metric]:.2f} " in colours
        assert f" {scores['srcnn'][metric]:.2f} " in colours
    result = run(*flags, "--luma", "--overwrite")
    assert "RGB" not in result.stdout
    (scores,) = json.loads((tmp_path / "scores.json").read_text())["images"].values()
    assert list(scores["srcnn"]) == ["psnr", "ssim", "ms_ssim"]


@pytest.mark.parametrize(
    ("words", "name"),
    [(("--json", "scores.json"), "scores.json"), (("--save", "sheets"), "sheets/wide-x3.png")],
)
def test_results_are_not_overwritten_unasked(run, images, tmp_path, monkeypatch, words, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sheets").mkdir()
    (tmp_path / name).write_bytes(b"precious")
    flags = ("--data", images, "-s", 3, "-m", "9-1-5", *words)
    with monkeypatch.context() as patch:  # refused before anything is measured
        patch.setattr("srcnn_fused.evaluate.evaluate", None)
        result = run(*flags)
    assert result.exit_code == 1
    assert result.stderr == (
        f"srcnn-fused: error: {words[0]} {name}: exists already; --overwrite replaces it\n"
    )
    assert (tmp_path / name).read_bytes() == b"precious"
    result = run(*flags, "--overwrite")
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes() != b"precious"


def test_a_results_folder_is_missed_before_anything_is_measured(run, images, monkeypatch):
    monkeypatch.setattr("srcnn_fused.evaluate.evaluate", None)
    result = run("--data", images, "-s", 3, "-m", "9-1-5", "--json", images / "no" / "f.json")
    assert result.exit_code == 1
    assert f"the folder {images / 'no'} does not exist" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "nowhere", "-m", "9-1-5-x3"), "nowhere does not exist: a folder of images"),
        (("--data", "images", "-m", "rgba.safetensors"), "images need a model of 1 or 3 channels"),
        (("--data", "images", "-m", "9-1-5-x3", "-s", "0"), "--scale must be a positive integer"),
        (
            ("--data", "images", "-m", "7-7-7"),
            "-m 7-7-7: no model '7-7-7': no such file, and the shipped",
        ),
        (("--data", "images", "-m", "text.pth"), "model file 'text.pth' cannot be read"),
        (("--data", "images", "-m", "9-1-5-x3", "--bicubic", "x"), "--bicubic must be one of"),
        (("--data", "images", "-m", "9-1-5-x3", "--padding-mode", "x"), "--padding-mode must be"),
        (("--data", "images", "-m", "9-1-5-x3", "--backend", "x"), "--backend must be one of"),
        (
            ("--data", "images", "-m", "9-1-5-x3", "--border", "30"),
            "small is 48x48: nothing is left",
        ),
        (
            ("--data", "images", "-m", "9-1-5-x3", "--json", "no/such/f.json"),
            "--json no/such/f.json: cannot be written: the folder no/such does not exist",
        ),
        (
            ("--data", "images", "-m", "9-1-5-x3", "--json", "images"),
            "--json images: is a folder; the output must be a file",
        ),
        (
            ("--data", "images", "-m", "9-1-5-x3", "--save", "text.pth"),
            "--save text.pth: cannot be used: File exists",
        ),
    ],
)
def test_mistakes_are_one_line_and_status_1(run, images, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pth").write_text("hello")
    FusedSRCNN(4, kernel_sizes=(9, 1, 5), scale=3).save_pretrained("rgba.safetensors")
    result = run("-s", 3, *words)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert lines[0].startswith("srcnn-fused: error: ")
    assert message in lines[0]


def test_backend_fused_without_a_kernel_says_why(run, images, tmp_path):
    model = tmp_path / "net.safetensors"
    FusedSRCNN(kernel_sizes=(5, 1, 5), widths=(8, 4), scale=3).save_pretrained(model)
    result = run("--data", images, "-s", 3, "-m", model, "--backend", "fused")
    assert result.exit_code == 1
    assert 'srcnn-fused: error: backend="fused" cannot run: ' in result.stderr
