"""Starting a network from a smaller one, at (nearly) the function that the smaller one computes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import reference
from ..modules import FusedSRCNN
from .color_space import ycbcr_as_rgb

__all__ = ["grow", "why_not_grown"]

_LAYERS = ("conv1", "conv2", "conv3")


def why_not_grown(small: FusedSRCNN, large: FusedSRCNN) -> str | None:
    """Why :func:`grow` cannot fill ``large`` from ``small``, or None where it can."""
    layers = len(small.kernel_sizes)
    if layers != len(large.kernel_sizes):
        return f"it has {layers} layers, not {len(large.kernel_sizes)}"
    if small.widths != large.widths:
        return f"its widths are {_text(small.widths)}, not {_text(large.widths)}"
    if any(a > b for a, b in zip(small.kernel_sizes, large.kernel_sizes, strict=True)):
        sizes = f"{_text(small.kernel_sizes)}, larger than {_text(large.kernel_sizes)}"
        return f"its kernels are {sizes}"
    if small.num_channels not in (large.num_channels, 1):
        return f"it has {small.num_channels} channels, not {large.num_channels}"
    if small.num_channels != large.num_channels and layers > 3:
        return f"a luma network of {layers} layers cannot start one of colours, only one of 3 can"
    if small.num_channels != large.num_channels and min(large.widths) < 3:
        return f"its widths {_text(small.widths)} leave no maps for the colours"
    return None


@torch.no_grad()
def grow(small: FusedSRCNN, large: FusedSRCNN) -> None:
    """Fill ``large`` from ``small``, for which :func:`why_not_grown` finds no reason.

    Kernels are put into the middle of larger ones, zeros around: the same function, borders
    included. A luma network in one of three channels (RGB) restores the luma and hands the chroma
    on as bicubic made it. That takes two feature maps of each hidden layer, those that matter
    least, and costs hundredths of a decibel at the start (the shipped 9-1-5 on Set5: 0.05 at most).
    """
    weights = small.state_dict()
    grey = small.num_channels < large.num_channels
    if grey:
        weights = _with_chroma(weights)
    for number, conv in enumerate(large.convs, 1):
        weight = weights[f"conv{number}.weight"]
        around = (conv.kernel_size[0] - weight.shape[-1]) // 2
        conv.weight.copy_(F.pad(weight, (around,) * 4))
        if conv.bias is not None:  # never, but the type of Conv2d allows it
            conv.bias.copy_(weights[f"conv{number}.bias"])
    if grey:
        ycbcr_as_rgb(large)


def _with_chroma(luma: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a luma network -> of one of YCbCr that passes Cb and Cr through, as they are.

    Both are positive, so that ReLU leaves them alone.
    """
    weights = {key: value.clone() for key, value in luma.items()}
    maps1, maps2 = _free_maps(weights)
    first, second, last = (weights[f"{layer}.weight"] for layer in _LAYERS)
    first = torch.cat((first, torch.zeros_like(first).repeat(1, 2, 1, 1)), dim=1)
    last = torch.cat((last, torch.zeros_like(last).repeat(2, 1, 1, 1)), dim=0)
    middle1, middle2, middle3 = (weight.shape[-1] // 2 for weight in (first, second, last))
    first[maps1] = 0
    second[maps2] = 0
    weights["conv1.bias"][maps1] = 0
    weights["conv2.bias"][maps2] = 0
    for channel, (map1, map2) in enumerate(zip(maps1, maps2, strict=True), 1):
        first[map1, channel, middle1, middle1] = 1
        second[map2, map1, middle2, middle2] = 1
        last[channel, map2, middle3, middle3] = 1
    weights["conv1.weight"], weights["conv3.weight"] = first, last
    weights["conv3.bias"] = F.pad(weights["conv3.bias"], (0, 2))
    return weights


def _free_maps(weights: dict[str, Tensor]) -> tuple[list[int], list[int]]:
    """Make two maps of each hidden layer unread, in place: those whose loss moves the output least.

    That is measured on a picture. What such a map feeds on average stays, in the biases behind it;
    trained networks have maps that are nearly constant, or never active.
    """
    (first, second, last), (bias1, bias2, bias3) = (
        [weights[f"{layer}.{part}"] for layer in _LAYERS] for part in ("weight", "bias")
    )
    maps = F.relu(F.conv2d(_picture().to(first.dtype), first, bias1))
    features = F.relu(F.conv2d(maps, second, bias2))
    fed = [F.conv2d(features[:, k : k + 1], last[:, k : k + 1]) for k in range(len(second))]
    free2 = torch.stack([part.var() for part in fed]).argsort()[:2]
    for k in free2.tolist():
        bias3 += features[:, k].mean() * last[:, k].sum(dim=(1, 2))
        last[:, k] = 0

    def output(hidden: Tensor) -> Tensor:
        return F.conv2d(F.relu(F.conv2d(hidden, second, bias2)), last)

    whole = output(maps)
    moved = []
    for k in range(len(first)):
        flat = maps.clone()
        flat[:, k] = maps[:, k].mean()
        moved.append(F.mse_loss(output(flat), whole))
    free1 = torch.stack(moved).argsort()[:2]
    for k in free1.tolist():
        bias2 += maps[:, k].mean() * second[:, k].sum(dim=(1, 2))
        second[:, k] = 0
    return free1.tolist(), free2.tolist()


def _picture() -> Tensor:
    """[4, 1, 64, 64], luma in [0, 1]: patches of cloudy shades with edges, blurred by bicubic."""
    generator = torch.Generator().manual_seed(0)
    clouds = torch.zeros(4, 1, 64, 64)
    for side, amplitude in ((3, 0.6), (6, 0.4), (12, 0.25), (24, 0.15)):
        noise = torch.rand(4, 1, side, side, generator=generator) - 0.5
        clouds += amplitude * reference.bicubic_resize(noise, size=(64, 64))
    shades = torch.where(clouds > 0, 0.65 + 0.5 * clouds, 0.3 + 0.6 * clouds)
    low = reference.bicubic_resize(shades, size=(32, 32))
    return reference.bicubic_resize(low, size=(64, 64)).clamp(0, 1)


def _text(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))
