"""One training step, forward + MSE + backward with the gradients of all weights, by each contender.

The input's own gradient is not asked for, as in training. A builder returns a function that makes
one step on given images and leaves the gradients in its parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srcnn_fused import FusedSRCNN, _extension
from srcnn_fused.benchmark.cases import Case, WrongOutput
from srcnn_fused.benchmark.peers import Unavailable, compile_model, to_channels_last

# Float32 gradients may differ from float64 by this much of the largest. Of millions of features a
# few lie so close to 0 that float32 takes the other branch of the ReLU: that, not rounding, is it.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class TrainingCase:
    """A network and a batch of enlarged images."""

    network: str
    batch: int
    side: int

    @property
    def _image(self) -> Case:
        return Case(self.network, self.side, self.side)

    @property
    def flop(self) -> int:
        """Operations of one step's direct convolutions, two per multiply-add; no replay.

        A layer costs as much for its output, its weights' gradient, and its input's, which the
        first layer does not need.
        """
        kernel1 = self._image.kernel_sizes[0]
        first = 2 * kernel1 * kernel1 * 64 * self.side * self.side
        return self.batch * (3 * self._image.flop - first)

    def describe(self) -> dict[str, Any]:
        """The case as a result file has it."""
        return self._image.describe() | {"batch": self.batch, "flop": self.flop}

    def make_network(self) -> nn.Sequential:
        """The usual SRCNN of three nn.Conv2d, float32, with the same random weights every time."""
        return self._image.make_network().train().requires_grad_(True)

    def make_images(self) -> tuple[Tensor, Tensor]:
        """Input and target, [batch, 1, side, side], float32, in [0, 1]."""
        generator = torch.Generator().manual_seed(1)
        shape = (self.batch, 1, self.side, self.side)
        return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Trained:
    """A contender: its forward, and the parameters in the network's order."""

    forward: Forward
    parameters: list[nn.Parameter]

    def step(self, x: Tensor, target: Tensor) -> Tensor:
        """Forward, loss and backward; fresh gradients, as after `zero_grad()`."""
        for parameter in self.parameters:
            parameter.grad = None
        loss = F.mse_loss(self.forward(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss


def eager(network: nn.Sequential) -> Trained:
    """PyTorch as it comes."""
    return Trained(network, list(network.parameters()))


def channels_last(network: nn.Sequential) -> Trained:
    """PyTorch with weights and activations in channels_last."""
    network = to_channels_last(network)

    def forward(x: Tensor) -> Tensor:
        out: Tensor = network(x.to(memory_format=torch.channels_last))
        return out

    return Trained(forward, list(network.parameters()))


def compiled(network: nn.Sequential) -> Trained:
    """torch.compile in its default mode, forward and backward, for this shape."""
    return Trained(compile_model(network), list(network.parameters()))


def fused(network: nn.Sequential) -> Trained:
    """srcnn_fused.FusedSRCNN."""
    reason = _extension.why_unavailable()
    if reason is not None:
        raise Unavailable(reason)
    convs = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    kernel_sizes = [conv.kernel_size[0] for conv in convs]
    device = convs[0].weight.device
    model = FusedSRCNN(kernel_sizes=kernel_sizes, backend="fused", device=device)
    for ours, theirs in zip((model.conv1, model.conv2, model.conv3), convs, strict=True):
        ours.load_state_dict(theirs.state_dict())
    return Trained(model, list(model.parameters()))


CONTENDERS: dict[str, Callable[[nn.Sequential], Trained]] = {
    "fused": fused,
    "eager": eager,
    "channels_last": channels_last,
    "compile": compiled,
}


def build(name: str, case: TrainingCase) -> Trained:
    """A contender with a network of its own."""
    return CONTENDERS[name](copy.deepcopy(case.make_network()))


class Reference:
    """The gradients in float64, image by image, of weights and images rounded to a dtype."""

    def __init__(
        self,
        case: TrainingCase,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        tolerance: float = TOLERANCE,
    ) -> None:
        self._tolerance = tolerance
        network = case.make_network().to(device, dtype).double()
        x, target = case.make_images()
        x, target = x.to(device, dtype).double(), target.to(device).double()
        for image, wanted in zip(x.split(1), target.split(1), strict=True):
            loss = F.mse_loss(network(image), wanted, reduction="sum") / target.numel()
            loss.backward()  # type: ignore[no-untyped-call]
        self._gradients = [p.grad for p in network.parameters() if p.grad is not None]

    def max_error(self, parameters: list[nn.Parameter], loss_scale: float = 1.0) -> float:
        """The largest difference of any gradient, relative to its largest value.

        loss_scale: what the loss, and so the gradients, are too large by. Raises WrongOutput above
        the tolerance.
        """
        worst = 0.0
        for parameter, want in zip(parameters, self._gradients, strict=True):
            if parameter.grad is None:
                raise WrongOutput("a gradient is missing")
            gradient = parameter.grad.double() / loss_scale
            error = (gradient - want).abs().max() / want.abs().max()
            worst = max(worst, error.nan_to_num(nan=torch.inf).item())
        if worst > self._tolerance:
            raise WrongOutput(f"the gradients differ from float64 by {worst:.1e}")
        return worst
