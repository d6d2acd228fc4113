"""Models, pictures and calls for the tests of `srcnn-fused upscale`."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from srcnn_fused import FusedSRCNN
from srcnn_fused.cli import app

runner = CliRunner()


def make_network(scale=3, num_channels=1):
    """Passes its input on, sharpened a little."""
    network = FusedSRCNN(num_channels, kernel_sizes=(9, 1, 5), scale=scale)
    with torch.no_grad():
        for conv in (network.conv1, network.conv2, network.conv3):
            conv.weight.mul_(0.05)
            conv.bias.zero_()
            center = conv.weight.shape[-1] // 2
            for channel in range(num_channels):
                conv.weight[channel, channel, center, center] = 1
    return network


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_network().save_pretrained("x3.safetensors")
    make_network(None).save_pretrained("any.safetensors")
    make_network(2, 3).save_pretrained("rgb.safetensors")


def picture(name, height=6, width=8, mode="RGB", seed=0):
    channels = len(mode)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return pixels


def run(*arguments, model="x3.safetensors"):
    return runner.invoke(app, ["upscale", "-m", model, *map(str, arguments)])


def files():
    """Everything that lies about, unfinished files included, but for the models."""
    return sorted(str(p) for p in Path().rglob("*") if p.is_file() and p.suffix != ".safetensors")


def only_line(result):
    (line,) = result.stderr.splitlines()
    assert line.startswith("srcnn-fused: error: ")
    return line.removeprefix("srcnn-fused: error: ")


def make_network_from_file(name, **options):
    return FusedSRCNN.from_pretrained(f"{name}.safetensors", **options)


def start(*arguments, limit=None):
    """The command as a process, whose files may be no larger than `limit` bytes."""

    def restrict():
        # A shell's background job hands "ignore" on to all it starts, these tests among them.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-m", "srcnn_fused", "upscale", "-m", "x3.safetensors", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restrict,  # noqa: PLW1509  single-threaded
    )
