"""The network while it trains: how it starts, its forward pass on crops, its learning rates."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import functional
from ..errors import UserError
from ..modules import FusedSRCNN
from .config import TrainConfig

__all__ = [
    "build_model",
    "build_optimizer",
    "forward_unpadded",
    "initialise",
    "learning_rate_factor",
    "receptive_radius",
]


def build_model(config: TrainConfig) -> FusedSRCNN:
    """The network to train: a fresh one, or ``config.init``'s weights.

    Raises:
        UserError: ``config.init`` cannot be read or is another network; or there is no such device,
            or no fused kernel where ``config.backend`` asks for it.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is available to this PyTorch")
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    options: dict[str, Any] = {
        "scale": config.scale,
        "bicubic": config.bicubic,
        "padding_mode": config.padding_mode,
        "backend": config.backend,
    }
    if config.init is None:
        model = FusedSRCNN(1, kernel_sizes=config.kernel_sizes, **options)
        initialise(model, torch.Generator().manual_seed(config.seed))
        return _on_device(model, device)
    try:
        model = FusedSRCNN.from_pretrained(config.init, **options)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"--init: {error}") from None
    sizes = tuple(conv.kernel_size[0] for conv in (model.conv1, model.conv2, model.conv3))
    channels = model.conv1.in_channels
    if sizes != config.kernel_sizes or channels != 1:
        raise UserError(
            f"--init must be a {config.network} network of 1 channel, "
            f"got {'-'.join(map(str, sizes))} of {channels}: {config.init}"
        )
    return _on_device(model, device)


def _on_device(model: FusedSRCNN, device: str) -> FusedSRCNN:
    """Moves the network, and makes sure now that its backend can run there."""
    model = model.to(device)
    if model.backend == "fused":
        weights = [conv.weight for conv in (model.conv1, model.conv2, model.conv3)]
        reason = functional.why_not_fused(weights[0], *weights)
        if reason is not None:
            raise UserError(f"--backend fused cannot run: {reason}")
    return model


@torch.no_grad()
def initialise(model: FusedSRCNN, generator: torch.Generator) -> None:
    """Start as (nearly) the identity, so at bicubic's PSNR, with random filters beside it.

    The first channels of each layer hand the image on; the others are He-normal, and hardly read
    at first as the last layer starts small. First-layer filters sum to zero: one that sees mainly
    the mean grey of its patch is either positive everywhere, so linear, or dead.
    """
    convs = (model.conv1, model.conv2, model.conv3)
    channels = model.conv1.in_channels
    for conv in convs:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        if conv.bias is not None:  # never, but the type of Conv2d allows it
            nn.init.zeros_(conv.bias)
    model.conv1.weight.sub_(model.conv1.weight.mean(dim=(1, 2, 3), keepdim=True))
    model.conv3.weight.mul_(0.01)
    for conv in convs:
        middle = conv.kernel_size[0] // 2
        for channel in range(channels):
            if conv is not model.conv3:
                conv.weight[channel] = 0
            conv.weight[channel, channel, middle, middle] = 1


def receptive_radius(model: FusedSRCNN) -> int:
    """How many pixels off an output pixel still count: what unpadded convolutions shave off."""
    return sum(conv.kernel_size[0] // 2 for conv in (model.conv1, model.conv2, model.conv3))


def forward_unpadded(model: FusedSRCNN, x: Tensor, backend: str) -> Tensor:
    """[N, c, H, W], enlarged already -> [N, c, H - 2r, W - 2r]: the pixels that see no border."""
    convs = (model.conv1, model.conv2, model.conv3)
    if backend == "fused":
        radius = receptive_radius(model)
        parameters = [p for conv in convs for p in conv.parameters()]
        output = functional.srcnn(x, *parameters, padding_mode=model.padding_mode, backend="fused")
        height, width = output.shape[-2:]
        return output[..., radius : height - radius, radius : width - radius]
    # channels_last takes about two thirds of the time of channels first on a CPU.
    for conv in convs:
        weight = conv.weight.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, conv.bias)
        if conv is not model.conv3:
            x = F.relu_(x)
    return x


def build_optimizer(model: FusedSRCNN, config: TrainConfig) -> torch.optim.Optimizer:
    """Two parameter groups: the first two layers, and the last one with its own learning rate."""
    first = [*model.conv1.parameters(), *model.conv2.parameters()]
    groups = [
        {"params": first, "lr": config.lr},
        {"params": list(model.conv3.parameters()), "lr": config.lr_last},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.Adam(groups)


def learning_rate_factor(config: TrainConfig, iteration: int) -> float:
    """What both learning rates are multiplied by in the step after ``iteration`` others."""
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * iteration / config.iterations))
