"""`doctor` tells what there is and checks it; `demo` writes its sheet."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from srcnn_fused import FusedSRCNN, _demo_picture, _extension, _gpu, functional, pretrained
from srcnn_fused.cli import app
from srcnn_fused.cli._load_model import load_model

runner = CliRunner()
doctor = importlib.import_module("srcnn_fused.cli.doctor")  # the package's `doctor` is its command


@pytest.fixture
def model(tmp_path):
    network = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=3)
    with torch.no_grad():  # passes its input on
        for conv in (network.conv1, network.conv2, network.conv3):
            conv.weight.zero_()
            conv.bias.zero_()
            center = conv.weight.shape[-1] // 2
            conv.weight[0, 0, center, center] = 1
    path = tmp_path / "identity.safetensors"
    network.save_pretrained(path)
    return str(path)


def test_doctor_reports_and_passes(extension):
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for text in (
        f"torch            {torch.__version__}",
        "threads          ",
        "compiler ",
        "can run here     ",
        "will run         ",
        "kernels for float32\n  9-1-5 on cpu     fused\n",
        "9-5-5 on cpu     fused",
        "kernels for float16\n"
        "  all on cpu       PyTorch reference: there is no fused kernel for torch.float16 on cpu\n",
        "kernels for bfloat16\n",
        "9-1-5 on cpu     ok: the fused kernel differs from the float64 reference by at most",
        "9-5-5 rgb on cpu ok: the fused kernel differs from the float64 reference by at most",
    ):
        assert text in result.output
    assert "WRONG" not in result.output


def test_doctor_names_the_forced_instruction_set(extension, monkeypatch):
    monkeypatch.setenv("SRCNN_FUSED_CPU_ISA", "generic")
    result = runner.invoke(app, ["doctor"])
    assert "will run         generic (SRCNN_FUSED_CPU_ISA=generic)" in result.output
    assert result.exit_code == 0, result.output


def test_doctor_reports_an_unusable_instruction_set(extension, monkeypatch):
    monkeypatch.setenv("SRCNN_FUSED_CPU_ISA", "mmx")
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "will run         none: " in result.output
    assert "mmx" in result.stderr


def test_doctor_works_without_the_extension(monkeypatch):
    reason = "the compiled extension is not there; install a compiler and run pip install again"
    monkeypatch.setattr(_extension, "_module", None)
    monkeypatch.setattr(_extension, "_reason", reason)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert f"missing          {reason}" in result.output
    assert f"all on cpu       PyTorch reference: {reason}" in result.output
    assert (
        "9-1-5 on cpu     ok: PyTorch float32 differs from the float64 reference" in result.output
    )
    assert "the fused kernels are missing" in result.stderr


def test_doctor_says_that_there_is_no_gpu(extension, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_gpu, "built_architectures", lambda: "9.0;12.0+PTX")
    result = runner.invoke(app, ["doctor"])
    assert (
        "CUDA kernels\n"
        "  built for        9.0;12.0+PTX\n"
        "  GPU              none that this PyTorch can use\n"
    ) in result.output
    assert result.exit_code == 0, result.output


def test_doctor_tells_which_gpus_the_build_serves(monkeypatch):
    capabilities = [(7, 0), (9, 0)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(_gpu, "_capability", lambda index: capabilities[index])
    monkeypatch.setattr(_gpu, "built_architectures", lambda: "9.0")
    monkeypatch.setattr(_extension, "_module", object())
    assert list(doctor._cuda_facts()) == [
        ("built for", "9.0"),
        (
            "GPU 0",
            "not served: this build has CUDA kernels for 9.0 and none for this GPU, which is "
            "sm_70; reinstall with TORCH_CUDA_ARCH_LIST=7.0",
        ),
        ("GPU 1", "served"),
    ]
    monkeypatch.setattr(_gpu, "built_architectures", lambda: "none")
    assert list(doctor._cuda_facts())[1:] == [
        ("GPU 0", "not served: there are no CUDA kernels"),
        ("GPU 1", "not served: there are no CUDA kernels"),
    ]


def test_doctor_finds_a_wrong_kernel(monkeypatch):
    right = functional.srcnn
    monkeypatch.setattr(functional, "srcnn", lambda *a, **k: right(*a, **k) + 1e-3)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "9-3-5 on cpu     WRONG" in result.output
    assert "9-3-5 on cpu: an error of 1.0e-03 is above 5e-05" in result.stderr


def test_the_picture_is_deterministic_and_detailed():
    first, second = _demo_picture.paint(96), _demo_picture.paint(96)
    assert np.array_equal(first, second)
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    assert first.std(axis=(0, 1)).min() > 30
    # Neighbours differ: there is detail for a network to restore.
    assert np.abs(np.diff(first.astype(int), axis=1)).mean() > 4


def test_demo_writes_the_sheet_and_prints_decibels(tmp_path, model):
    path = tmp_path / "sheet.png"
    result = runner.invoke(app, ["demo", "-o", str(path), "-m", model])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "low resolution",
        "bicubic x3",
        "SRCNN 9-1-5 x3",
        "original",
    ]
    bicubic, srcnn = (float(lines[i].split()[-2]) for i in (1, 2))
    assert 20 < bicubic < 40
    assert abs(bicubic - srcnn) < 0.1  # this network passes the bicubic image on
    with Image.open(path) as sheet:
        assert sheet.size == (2 * 28 + 4 * 480 + 3 * 18, 2 * 28 + 40 + 2 * 480 + 18)
        # The low-resolution panel consists of 3x3 blocks, the original does not.
        pixels = np.asarray(sheet)[68 : 68 + 480, :, :]
    for left, blocky in ((28, True), (28 + 3 * 498, False)):
        panel = pixels[:60, left : left + 60].reshape(20, 3, 20, 3, 3)
        assert (np.ptp(panel, axis=(1, 3)) == 0).all() == blocky


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sheet.jpg", "must end in .png"),
        ("", "must end in .png"),
        ("there.png", "exists already"),
        ("gone/a.png", "gone does not exist"),
    ],
)
def test_demo_refuses_a_bad_output(tmp_path, model, name, reason):
    (tmp_path / "there.png").write_bytes(b"precious")
    result = runner.invoke(app, ["demo", "-o", str(tmp_path / name), "-m", model])
    assert result.exit_code == 1
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "there.png").read_bytes() == b"precious"


@pytest.mark.parametrize("scale", [1, 9, 161, 300, 481, -3])
def test_demo_refuses_scales_that_leave_nothing_to_show(tmp_path, scale):
    network = FusedSRCNN(kernel_sizes=(9, 1, 5))
    network.save_pretrained(tmp_path / "any.safetensors")
    words = ["-o", str(tmp_path / "a.png"), "-m", str(tmp_path / "any.safetensors")]
    result = runner.invoke(app, ["demo", *words, "-s", str(scale)])
    assert result.exit_code == 1
    assert result.stderr == f"srcnn-fused: error: --scale must be from 2 to 8 here, got {scale}\n"


def test_demo_refuses_a_model_for_such_a_scale(tmp_path):
    FusedSRCNN(kernel_sizes=(9, 1, 5), scale=12).save_pretrained(tmp_path / "x12.safetensors")
    words = ["-o", str(tmp_path / "a.png"), "-m", str(tmp_path / "x12.safetensors")]
    result = runner.invoke(app, ["demo", *words])
    assert result.exit_code == 1
    assert result.stderr == "srcnn-fused: error: --scale must be from 2 to 8 here, got 12\n"


@pytest.mark.parametrize(("scale", "channels"), [(2, 3), (7, 1), (8, 1)])
def test_demo_at_the_scales_it_takes(tmp_path, scale, channels):
    model = FusedSRCNN(channels, kernel_sizes=(9, 1, 5), scale=scale)
    model.save_pretrained(tmp_path / "m.safetensors")
    words = ["-o", str(tmp_path / "a.png"), "-m", str(tmp_path / "m.safetensors")]
    result = runner.invoke(app, ["demo", *words])
    assert result.exit_code == 0, result.output
    kind = " RGB" if channels == 3 else ""
    assert f"SRCNN 9-1-5{kind} x{scale}" in result.output


def test_a_shipped_rgb_model_is_found_by_name_and_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    file = tmp_path / "9-1-5-x3-rgb.safetensors"
    FusedSRCNN(3, kernel_sizes=(9, 1, 5), scale=3).save_pretrained(file)
    assert load_model("9-1-5-rgb", None).num_channels == 3
    assert load_model("9-1-5-rgb", 3).scale == 3
    assert list(doctor._models()) == [
        ("9-1-5-x3-rgb", "9-1-5, 3 channel(s), scale 3, matlab, zeros")
    ]
