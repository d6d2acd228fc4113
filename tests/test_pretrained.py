"""Weights files: round trips, files of the public ports, and every way a file can be bad."""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from srcnn_fused import FusedSRCNN, list_pretrained, pretrained


def plain_state() -> dict[str, Tensor]:
    """state_dict of a plain three-Conv2d SRCNN, 9-5-5."""
    model = FusedSRCNN()
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


# --- round trip -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_sizes": (9, 1, 5), "scale": 3},
        {"num_channels": 3, "bicubic": "pil", "padding_mode": "replicate"},
        {"num_channels": 2, "kernel_sizes": (5, 3, 3), "widths": (8, 4), "scale": 2},
    ],
    ids=str,
)
def test_save_and_load_give_the_same_model(arguments: dict[str, Any], tmp_path: Path) -> None:
    model = FusedSRCNN(**arguments, backend="reference")
    file = tmp_path / "model.safetensors"
    model.save_pretrained(file, metadata={"epochs": 3, "val": {"psnr": 32.1}})
    loaded = FusedSRCNN.from_pretrained(file, backend="reference")
    assert loaded.config == model.config
    x = torch.rand(1, model.num_channels, 6, 7)
    assert torch.equal(loaded(x), model(x))
    assert pretrained.read_metadata(file) == {"epochs": 3, "val": {"psnr": 32.1}}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_overrides_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    FusedSRCNN(kernel_sizes=(9, 1, 5), scale=3).save_pretrained(file)
    model = FusedSRCNN.from_pretrained(
        file, scale=None, padding_mode="replicate", backend="reference", dtype=torch.float64
    )
    assert (model.scale, model.padding_mode, model.backend) == (None, "replicate", "reference")
    assert model.conv2.weight.dtype == torch.float64
    with pytest.raises(ValueError, match=r"^kernel_sizes of '.*' is \[9, 1, 5\], not \(9, 5, 5\)$"):
        FusedSRCNN.from_pretrained(file, kernel_sizes=(9, 5, 5))
    with pytest.raises(ValueError, match=r"^num_channels of '.*' is 1, not 3$"):
        FusedSRCNN.from_pretrained(file, num_channels=3)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.safetensors"
    model = FusedSRCNN()
    model.save_pretrained(file)
    before = file.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        FusedSRCNN().save_pretrained(file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_nan_weights_are_not_saved(tmp_path: Path) -> None:
    model = FusedSRCNN()
    with torch.no_grad():
        model.conv2.bias[3] = float("nan")
    with pytest.raises(ValueError, match=r"^conv2.bias holds NaN or infinite values; .* not writ"):
        model.save_pretrained(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^path must end in \.safetensors, got '.*model\.pth'$"):
        FusedSRCNN().save_pretrained(tmp_path / "model.pth")


# --- files of other origin ------------------------------------------------------------------------


def renamed(names: list[str]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {
        f"{name}.{part}": state[f"conv{i + 1}.{part}"]
        for i, name in enumerate(names)
        for part in ("weight", "bias")
    }


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    "ordered": OrderedDict,
    "DataParallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "compiled": lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()},
    "state_dict": lambda state: {"epoch": 7, "state_dict": state, "best": 32.5},
    "model": lambda state: {"model": state, "optimizer": {"lr": 1e-4, "state": {}}},
    "twice": lambda state: {"model": {"state_dict": state}},
    "shuffled": lambda state: dict(reversed(state.items())),
    "other names": renamed(["features.0", "map.0", "reconstruction"]),
    "sequential": renamed(["layers.0", "layers.2", "layers.4"]),
    "counted from 0": renamed(["conv0", "conv1", "conv2"]),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pth_of_a_public_port_gives_the_same_output(wrapping: str, tmp_path: Path) -> None:
    state = plain_state()
    file = tmp_path / "model.pth"
    torch.save(WRAPPINGS[wrapping](state), file)
    model = FusedSRCNN.from_pretrained(file)
    assert model.config == FusedSRCNN().config
    x = torch.rand(1, 1, 12, 11)
    layers = [nn.Conv2d(1, 64, 9, padding=4), nn.Conv2d(64, 32, 5, padding=2)]
    layers.append(nn.Conv2d(32, 1, 5, padding=2))
    for index, layer in enumerate(layers):
        prefix = f"conv{index + 1}."
        layer.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if prefix in k})
    expected = layers[2](layers[1](layers[0](x).relu()).relu())
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_network_and_channels_are_read_off_the_shapes(suffix: str, tmp_path: Path) -> None:
    made = FusedSRCNN(3, kernel_sizes=(9, 3, 5), widths=(16, 8))
    file = tmp_path / f"model{suffix}"
    state = {k: v.detach() for k, v in made.state_dict().items()}
    if suffix == ".pth":
        torch.save(state, file)
    else:
        save_file(state, file)
    model = FusedSRCNN.from_pretrained(file, scale=2)
    assert model.config == {**made.config, "scale": 2}


# --- shipped models -------------------------------------------------------------------------------


def test_shipped_models_load_and_are_what_their_names_say() -> None:
    for name in list_pretrained():
        parts = re.fullmatch(r"(\d+-\d+-\d+)-x(\d+)(-rgb)?", name)
        assert parts, name
        network, scale, rgb = parts.groups(default="")
        model = FusedSRCNN.from_pretrained(name)
        assert "-".join(map(str, model.kernel_sizes)) == network
        assert model.scale == int(scale)
        assert model.num_channels == (3 if rgb else 1)
        assert pretrained.find(network + rgb, scale=int(scale)) == pretrained.find(name)


def test_names_are_found_beside_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    FusedSRCNN(kernel_sizes=(9, 1, 5), scale=3).save_pretrained(tmp_path / "9-1-5-x3.safetensors")
    rgb = tmp_path / "9-1-5-x3-rgb.safetensors"
    FusedSRCNN(3, kernel_sizes=(9, 1, 5), scale=3).save_pretrained(rgb)
    assert list_pretrained() == ["9-1-5-x3", "9-1-5-x3-rgb"]
    assert FusedSRCNN.from_pretrained("9-1-5-x3").scale == 3
    assert FusedSRCNN.from_pretrained("9-1-5-x3-rgb").num_channels == 3
    assert pretrained.find("9-1-5", scale=3) == tmp_path / "9-1-5-x3.safetensors"
    assert pretrained.find("9-1-5-rgb", scale=3) == rgb
    message = "no model '9-1-5': no such file, and the shipped models are: 9-1-5-x3, 9-1-5-x3-rgb"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
        FusedSRCNN.from_pretrained("9-1-5")
    with pytest.raises(FileNotFoundError, match="no model '9-1-5-rgb'"):
        pretrained.find("9-1-5-rgb", scale=2)


# --- bad files ------------------------------------------------------------------------------------


def write_pth(value: object) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state: dict[str, Any] = {
        **plain_state(),
        **{k.replace("_", "."): v for k, v in changes.items()},
    }
    return {key: value for key, value in state.items() if value is not None}


def foreign(*layers: str) -> dict[str, Tensor]:
    """Layers from 1 channel to 1, by 4 features, whose shapes follow as a deeper SRCNN's do."""
    state: dict[str, Tensor] = {}
    for layer in layers:
        outputs = 1 if layer == layers[-1] else 4
        state[f"{layer}.weight"] = torch.rand(outputs, 4 if state else 1, 3, 3)
        state[f"{layer}.bias"] = torch.rand(outputs)
    return state


def write_header(config: object) -> Callable[[Path], None]:
    text = config if isinstance(config, str) else json.dumps(config)
    return lambda path: save_file(plain_state(), path, metadata={"srcnn_fused": text})


def truncated(path: Path) -> None:
    save_file(plain_state(), path)
    path.write_bytes(path.read_bytes()[:-1000])


def with_value(key: str, value: float) -> dict[str, Tensor]:
    state = plain_state()
    state[key].view(-1)[5] = value
    return state


BAD_FILES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "truncated safetensors": ("m.safetensors", truncated, "cannot be read: "),
    "empty safetensors": ("m.safetensors", Path.touch, "cannot be read: "),
    "noise": ("m.safetensors", lambda p: p.write_bytes(os.urandom(500)), "cannot be read: "),
    "empty pth": ("m.pth", Path.touch, "cannot be read: "),
    "text": ("m.pth", lambda p: p.write_text("not a model"), "cannot be read: "),
    "a pickle that calls nothing": ("m.pth", lambda p: p.write_bytes(b"\x80\x02R."), "cannot be "),
    "sparse weights": (
        "m.pth",
        write_pth(changed(conv1_bias=torch.rand(64).to_sparse())),
        "conv1.bias must be a dense tensor, got torch.sparse_coo on cpu",
    ),
    "weights without values": (
        "m.pth",
        write_pth(changed(conv1_bias=torch.rand(64, device="meta"))),
        "conv1.bias must be a dense tensor, got torch.strided on meta",
    ),
    "pickled module": (
        "m.pth",
        write_pth(FusedSRCNN()),
        "cannot be read: it is no PyTorch file, or holds more than tensors",
    ),
    "a list": ("m.pth", write_pth([1, 2]), "cannot be read: it holds list, not a state_dict"),
    "a folder": ("m.pth", Path.mkdir, "is a directory"),
    "another network": (
        "m.pth",
        write_pth({"fc.weight": torch.rand(3, 3), "fc.bias": torch.rand(3)}),
        "is no SRCNN: expected weight and bias of three convolutions, or of conv1 to convN, got 2 "
        "tensors (fc.weight, fc.bias)",
    ),
    "a layer missing": (
        "m.pth",
        write_pth(changed(conv2_bias=None)),
        "is no SRCNN: expected weight and bias of three convolutions, or of conv1 to convN, got 5 "
        "tensors ",
    ),
    "a deep network of other names": (
        "m.pth",
        write_pth(foreign("input", "residual.0", "residual.1", "output")),
        "is no SRCNN: expected weight and bias of three convolutions, or of conv1 to convN, got 8 "
        "tensors (input.weight, input.bias, residual.0.weight, residual.0.bias, residual.1.weight, "
        "residual.1.bias, output.weight, output.bias)",
    ),
    "a deep network counted from 0": (
        "m.pth",
        write_pth(foreign("conv0", "conv1", "conv2", "conv3")),
        "is no SRCNN: expected weight and bias of three convolutions, or of conv1 to convN, got 8 ",
    ),
    "a layer beyond a gap": (
        "m.pth",
        write_pth(foreign("conv1", "conv2", "conv3", "conv5")),
        "is no SRCNN: it has conv5, but no conv4",
    ),
    "three layers with a gap": (
        "m.pth",
        write_pth(foreign("conv1", "conv2", "conv4")),
        "is no SRCNN: it has conv4, but no conv3",
    ),
    "NaN weights": (
        "m.pth",
        write_pth(with_value("conv2.weight", float("nan"))),
        "conv2.weight holds NaN or infinite values",
    ),
    "infinite bias": (
        "m.pth",
        write_pth(with_value("conv1.bias", float("inf"))),
        "conv1.bias holds NaN or infinite values",
    ),
    "integers": (
        "m.pth",
        write_pth(changed(conv1_weight=torch.zeros(64, 1, 9, 9, dtype=torch.int8))),
        "conv1.weight must be floating point, got torch.int8",
    ),
    "even kernel": (
        "m.pth",
        write_pth(changed(conv1_weight=torch.rand(64, 1, 8, 8))),
        "conv1.weight must be [n, 1, f, f] with odd f, got [64, 1, 8, 8]",
    ),
    "flat weight": (
        "m.pth",
        write_pth(changed(conv1_weight=torch.rand(64, 81))),
        "conv1.weight must be [n, c, f, f] with odd f, got [64, 81]",
    ),
    "layers that do not follow": (
        "m.pth",
        write_pth(changed(conv2_weight=torch.rand(32, 63, 5, 5))),
        "conv2.weight must be [n, 64, f, f] with odd f, got [32, 63, 5, 5]",
    ),
    "other channels out": (
        "m.pth",
        write_pth(changed(conv3_weight=torch.rand(3, 32, 5, 5), conv3_bias=torch.rand(3))),
        "conv3.weight must be [1, 32, f, f] with odd f, got [3, 32, 5, 5]",
    ),
    "bias length": (
        "m.pth",
        write_pth(changed(conv3_bias=torch.rand(2))),
        "conv3.bias must be [1], got [2]",
    ),
    "metadata no JSON": ("m.safetensors", write_header("{scale"), "cannot be read: "),
    "metadata no object": (
        "m.safetensors",
        write_header([3]),
        "cannot be read: its metadata is no JSON object",
    ),
    "metadata of another network": (
        "m.safetensors",
        write_header({"kernel_sizes": [9, 1, 5]}),
        "its metadata says kernel_sizes [9, 1, 5], its tensors [9, 5, 5]",
    ),
    "metadata with a bad scale": (
        "m.safetensors",
        write_header({"scale": 0}),
        "in its metadata, scale must be a positive integer or None, got 0",
    ),
    "metadata with a bad convention": (
        "m.safetensors",
        write_header({"bicubic": "opencv"}),
        "in its metadata, bicubic must be one of 'matlab', 'pil', 'torch', got 'opencv'",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_that_names_it(case: str, tmp_path: Path) -> None:
    name, write, message = BAD_FILES[case]
    file = tmp_path / name
    write(file)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        FusedSRCNN.from_pretrained(file)
    text = str(caught.value)
    assert text.startswith(f"model file {str(file)!r}")
    assert "\n" not in text


def test_a_pth_of_the_old_format_cut_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    model = FusedSRCNN(kernel_sizes=(1, 1, 1), widths=(1, 1))
    whole = tmp_path / "whole.pth"
    torch.save(model.state_dict(), whole, _use_new_zipfile_serialization=False)
    content = whole.read_bytes()
    pretrained.load(whole)
    file = tmp_path / "cut.pth"
    for length in range(0, len(content), 3):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^model file .* cannot be read: .+$") as caught:
            pretrained.load(file)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_name_are_told_with_what_there_is(tmp_path: Path) -> None:
    missing = tmp_path / "model.safetensors"
    message = f"no model {str(missing)!r}: no such file, and the shipped models are: "
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}"):
        FusedSRCNN.from_pretrained(missing)


def test_the_file_is_plain_safetensors_for_everyone_else(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    model = FusedSRCNN(kernel_sizes=(9, 1, 5))
    model.save_pretrained(file)
    tensors = load_file(file)
    assert set(tensors) == set(model.state_dict())
    assert file.stat().st_size < 35_000
