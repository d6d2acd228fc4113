"""FusedSRCNN as a module: a drop-in for three Conv2d, and a well-behaved nn.Module."""

from __future__ import annotations

import copy
import io
import pickle
import re
import warnings

import pytest
import torch
from sample_inputs import PADDING_MODES
from torch import Tensor, nn

import srcnn_fused
from srcnn_fused import FusedSRCNN, functional, reference


class PlainSRCNN(nn.Module):
    """The module of the public PyTorch ports."""

    def __init__(self, channels: int = 1, padding_mode: str = "zeros") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 9, padding=4, padding_mode=padding_mode)
        self.conv2 = nn.Conv2d(64, 32, 5, padding=2, padding_mode=padding_mode)
        self.conv3 = nn.Conv2d(32, channels, 5, padding=2, padding_mode=padding_mode)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.relu(self.conv2(self.relu(self.conv1(x)))))


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_replaces_three_conv2d(channels: int, padding_mode: str) -> None:
    plain = PlainSRCNN(channels, padding_mode)
    fused = FusedSRCNN(channels, padding_mode=padding_mode)
    fused.load_state_dict(plain.state_dict())
    x = torch.rand(2, channels, 14, 15)
    torch.testing.assert_close(fused(x), plain(x), rtol=0, atol=1e-5)
    plain.load_state_dict(fused.state_dict())


def test_it_trains_as_three_conv2d_do() -> None:
    plain, fused = PlainSRCNN(), FusedSRCNN()
    fused.load_state_dict(plain.state_dict())
    x, target = torch.rand(2, 1, 12, 12), torch.rand(2, 1, 12, 12)
    for model in (plain, fused):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), target).backward()
            optimizer.step()
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_the_convolutions_are_real_and_give_the_same_one_by_one() -> None:
    model = FusedSRCNN(kernel_sizes=(9, 3, 5), padding_mode="replicate")
    x = torch.rand(1, 1, 10, 11)
    by_hand = model.conv3(model.conv2(model.conv1(x).relu()).relu())
    torch.testing.assert_close(model(x), by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [None, 1, 3])
def test_scale_sets_the_size_of_the_output(scale: int | None) -> None:
    model = FusedSRCNN(scale=scale, kernel_sizes=(9, 1, 5))
    factor = scale or 1
    assert model(torch.rand(2, 1, 5, 4)).shape == (2, 1, 5 * factor, 4 * factor)


@pytest.mark.filterwarnings("ignore:running the slower PyTorch reference")
def test_to_another_dtype_stays_right() -> None:
    model = FusedSRCNN(scale=2, kernel_sizes=(9, 1, 5))
    x = torch.rand(1, 1, 6, 5)
    single = model(x)
    double = model.to(torch.float64)(x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)
    half = model.half()(x.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.double(), double, rtol=0, atol=4e-3)


def test_another_network_says_why_it_is_not_fused(extension: None, fresh_warnings: None) -> None:
    model = FusedSRCNN(2, kernel_sizes=(5, 3, 3), widths=(8, 4))
    with pytest.warns(UserWarning, match=re.escape("have widths (64, 32), this network has (8")):
        model(torch.rand(1, 2, 6, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(torch.rand(1, 2, 6, 6))
        FusedSRCNN(2, widths=(8, 4), backend="reference")(torch.rand(1, 2, 6, 6))


def test_pickle_deepcopy_and_torch_save_keep_everything() -> None:
    model = FusedSRCNN(3, kernel_sizes=(9, 1, 5), scale=2, bicubic="pil", padding_mode="replicate")
    x = torch.rand(1, 3, 5, 6)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for clone in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        torch.load(buffer, weights_only=False),
    ):
        assert clone.config == model.config
        assert torch.equal(clone(x), model(x))
        assert clone.conv1.weight.data_ptr() != model.conv1.weight.data_ptr()


def test_device_and_dtype_reach_the_parameters() -> None:
    model = FusedSRCNN(device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", torch.bfloat16)}


def test_repr_shows_what_the_convolutions_do_not() -> None:
    text = repr(FusedSRCNN(scale=3, bicubic="pil", padding_mode="replicate"))
    assert "scale=3, bicubic='pil', padding_mode='replicate', backend='auto'" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_channels": 0}, "num_channels must be a positive integer, got 0"),
        ({"kernel_sizes": (9, 2, 5)}, "kernel_sizes must be odd, got (9, 2, 5)"),
        ({"kernel_sizes": (9, 5)}, "kernel_sizes must be 3 or more positive integers, got (9, 5)"),
        ({"kernel_sizes": 9}, "kernel_sizes must be 3 or more positive integers, got 9"),
        ({"widths": (64, 0)}, "widths must be 2 positive integers, got (64, 0)"),
        ({"kernel_sizes": (9, 1, 1, 5)}, "widths must be 3 positive integers, got (64, 32)"),
        ({"scale": 0}, "scale must be a positive integer or None, got 0"),
        ({"scale": 1.5}, "scale must be a positive integer or None, got 1.5"),
        ({"bicubic": "opencv"}, "bicubic must be one of 'matlab', 'pil', 'torch', got 'opencv'"),
        (
            {"padding_mode": "reflect"},
            "padding_mode must be one of 'zeros', 'replicate', got 'reflect'",
        ),
        ({"backend": "gpu"}, "backend must be one of 'auto', 'fused', 'reference', got 'gpu'"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        FusedSRCNN(**arguments)


def test_bad_inputs_are_refused() -> None:
    model = FusedSRCNN()
    for x, message in (
        (torch.rand(1, 8, 8), "x must be [N, 1, H, W], got [1, 8, 8]"),
        (torch.rand(1, 3, 8, 8), "x must be [N, 1, H, W], got [1, 3, 8, 8]"),
        (torch.rand(1, 1, 8, 8).double(), "weight1 must be torch.float64 as x is"),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            model(x)


def test_the_package_offers_its_public_names() -> None:
    assert srcnn_fused.FusedSRCNN is FusedSRCNN
    assert srcnn_fused.functional is functional
    assert srcnn_fused.srcnn is functional.srcnn
    assert srcnn_fused.bicubic_resize is functional.bicubic_resize
    assert srcnn_fused.reference is reference
    assert set(srcnn_fused.__all__) <= set(dir(srcnn_fused))
    with pytest.raises(AttributeError, match="module 'srcnn_fused' has no attribute 'nothing'"):
        _ = srcnn_fused.nothing
