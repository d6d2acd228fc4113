"""The network while it trains: how it starts, its forward pass on crops, its learning rates."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import functional, ops
from ..errors import UserError
from ..modules import FusedSRCNN
from .color_space import rgb_as_ycbcr, ycbcr_as_rgb
from .config import TrainConfig
from .growth import grow, why_not_grown

__all__ = [
    "build_model",
    "build_optimizer",
    "finished",
    "forward_unpadded",
    "has_fused_step",
    "initialise",
    "learning_rate_factor",
    "receptive_radius",
]


def build_model(config: TrainConfig, device: torch.device) -> FusedSRCNN:
    """The network to train: a fresh one, or ``config.init``'s weights.

    Raises:
        UserError: ``config.init`` cannot be read or does not fit into this network; or the device
            does not compute in ``config.precision``, or has no fused kernel where
            ``config.backend`` asks for it.
    """
    if device.type == "cpu" and config.precision == "float16":
        raise UserError("--precision float16 needs a CUDA device; bfloat16 trains on CPUs too")
    if device.type == "cpu" and config.precision == "bfloat16" and config.backend == "fused":
        raise UserError("--precision bfloat16 on a CPU runs on the reference, not --backend fused")
    options: dict[str, Any] = {
        "scale": config.scale,
        "bicubic": config.bicubic,
        "padding_mode": config.padding_mode,
        "backend": config.backend,
    }
    model = FusedSRCNN(
        config.num_channels,
        kernel_sizes=config.kernel_sizes,
        widths=config.layer_widths,
        **options,
    )
    if config.init is None:
        initialise(model, torch.Generator().manual_seed(config.seed))
        return _on_device(model, device)
    try:
        start = FusedSRCNN.from_pretrained(config.init, **options)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"--init: {error}") from None
    reason = why_not_grown(start, model)
    if reason is not None:
        raise UserError(f"--init {config.init} cannot start a {config.model_name}: {reason}")
    grow(start, model)
    if config.color == "ycbcr":
        rgb_as_ycbcr(model)
    return _on_device(model, device)


def finished(model: FusedSRCNN, config: TrainConfig) -> FusedSRCNN:
    """The network to validate and to save: ``model``, or the RGB network that equals it."""
    if config.color != "ycbcr":
        return model
    model = copy.deepcopy(model)
    ycbcr_as_rgb(model)
    return model


def _on_device(model: FusedSRCNN, device: torch.device) -> FusedSRCNN:
    """Moves the network, and makes sure now that its backend can run there."""
    model = model.to(device)
    if model.backend == "fused":
        weights = [conv.weight for conv in model.convs]
        reason = functional.why_not_fused(weights[0], *weights)
        if reason is not None:
            raise UserError(f"--backend fused cannot run: {reason}")
    return model


@torch.no_grad()
def initialise(model: FusedSRCNN, generator: torch.Generator) -> None:
    """Start as (nearly) the identity, so at bicubic's PSNR, with random filters beside it.

    The first channels of each layer hand the image on; the others are He-normal, and hardly read
    at first as the last layer starts small. First-layer filters sum to zero in every channel: one
    that sees mainly the mean grey (or hue) of its patch is either positive everywhere, so linear,
    or dead.
    """
    channels = model.conv1.in_channels
    last = model.convs[-1]
    for conv in model.convs:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        if conv.bias is not None:  # never, but the type of Conv2d allows it
            nn.init.zeros_(conv.bias)
    model.conv1.weight.sub_(model.conv1.weight.mean(dim=(2, 3), keepdim=True))
    last.weight.mul_(0.01)
    for conv in model.convs:
        middle = conv.kernel_size[0] // 2
        for channel in range(channels):
            if conv is not last:
                conv.weight[channel] = 0
            conv.weight[channel, channel, middle, middle] = 1


def receptive_radius(model: FusedSRCNN) -> int:
    """How many pixels off an output pixel still count: what unpadded convolutions shave off."""
    return sum(size // 2 for size in model.kernel_sizes)


def has_fused_step(model: FusedSRCNN, precision: str = "float32") -> bool:
    """Whether forward and backward both have a fused kernel for this network where it is."""
    weights = [conv.weight for conv in model.convs]
    device = weights[0].device.type
    return (
        (precision == "float32" or device == "cuda")
        and ops.has_fused_backward(device)
        and functional.why_not_fused(weights[0], *weights) is None
    )


def forward_unpadded(
    model: FusedSRCNN, x: Tensor, backend: str, precision: str = "float32"
) -> Tensor:
    """[N, c, H, W], enlarged already -> [N, c, H - 2r, W - 2r]: the pixels that see no border.

    Other precisions than float32 are computed under autocast, and so is the result's dtype.
    """
    fused = backend == "fused" or (backend == "auto" and has_fused_step(model, precision))
    mixed = precision != "float32"
    dtype = getattr(torch, precision) if mixed else None
    with torch.autocast(x.device.type, dtype=dtype, enabled=mixed):
        return _forward(model, x, fused)


def _forward(model: FusedSRCNN, x: Tensor, fused: bool) -> Tensor:
    if fused:
        radius = receptive_radius(model)
        parameters = [p for conv in model.convs for p in conv.parameters()]
        output = functional.srcnn(x, *parameters, padding_mode=model.padding_mode, backend="fused")
        height, width = output.shape[-2:]
        return output[..., radius : height - radius, radius : width - radius]
    # channels_last takes about two thirds of the time of channels first on a CPU.
    *hidden, last = model.convs
    for conv in hidden:
        x = F.relu_(_unpadded(conv, x))
    return _unpadded(last, x)


def _unpadded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    weight = conv.weight.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, conv.bias)


def build_optimizer(model: FusedSRCNN, config: TrainConfig) -> torch.optim.Optimizer:
    """Two parameter groups: all layers but the last, which has its own learning rate."""
    *hidden, last = model.convs
    groups = [
        {"params": [p for conv in hidden for p in conv.parameters()], "lr": config.lr},
        {"params": list(last.parameters()), "lr": config.lr_last},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.Adam(groups)


def learning_rate_factor(config: TrainConfig, iteration: int) -> float:
    """What both learning rates are multiplied by in the step after ``iteration`` others."""
    if iteration < config.warmup:
        return (iteration + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    done = (iteration - config.warmup) / (config.iterations - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))
