"""What a training step on a GPU is measured with: cases, contenders, and the float64 gradients.

A step is forward, mean squared error and backward with the gradients of all weights; the image's
own is not asked for. Weights, images and target are float32. Where the precision has 16 bits, the
forward and the loss run under autocast, as users train; float16 scales the loss by a power of two,
as torch.amp.GradScaler does, or the gradient of a mean over a million pixels would vanish.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..environment import overridden
from ..training import CONTENDERS as STEPS
from ..training import Reference, Trained, TrainingCase
from .cases import PRECISIONS, Precision
from .device import Device
from .measure import Prepare, Runner, paced
from .peers import KERNEL_VARIABLE, as_channels_last
from .report import step_precision_title

# By how much a gradient may differ from float64's of the rounded weights and images, relative to
# its largest value. On the CPU, 16 of 33x33 and 2 of 128x128 were off by up to 9e-5 in float32,
# 1.4e-3 in float16 and 1.1e-2 in bfloat16, with the fused op or eager; TF32 has float16's digits.
TOLERANCES = {"float32": 1e-3, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 5e-2}

LOSS_SCALE = 2.0**12  # in float16


@dataclass(frozen=True)
class GpuStep:
    """A training step in a precision."""

    case: TrainingCase
    precision: Precision

    @property
    def title(self) -> str:
        """ "9-1-5, 16 of 33x33, float16 autocast"."""
        case, precision = self.case, step_precision_title(self.precision.name)
        return f"{case.network}, {case.batch} of {case.side}x{case.side}, {precision}"

    @property
    def autocasts(self) -> bool:
        """Whether the layers run in 16 bits."""
        return self.precision.dtype != torch.float32

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by."""
        return LOSS_SCALE if self.precision.dtype == torch.float16 else 1.0

    @property
    def bytes(self) -> int:
        """The fewest bytes that can be moved: images and targets read once."""
        return 2 * 4 * self.case.batch * self.case.side**2

    def describe(self) -> dict[str, Any]:
        """The case as a result file has it."""
        return self.case.describe() | {"precision": self.precision.name, "bytes": self.bytes}

    def floor_ms(self, ceilings: dict[str, Any]) -> float:
        """What no version runs much faster than: all its products, or all its bytes."""
        compute: float = self.case.flop / (1e12 * ceilings["matmul_tflops"][self.precision.name])
        memory: float = self.bytes / (1e9 * ceilings["copy_gb_per_s"])
        return 1e3 * max(compute, memory)

    def make_images(self, device: torch.device, cache_bytes: int) -> list[tuple[Tensor, Tensor]]:
        """Pairs of images and targets to rotate through, together larger than the cache."""
        x, target = (images.to(device) for images in self.case.make_images())
        count = max(2, -(-cache_bytes * 5 // 4 // self.bytes))
        others = ((torch.rand_like(x), torch.rand_like(target)) for _ in range(count - 1))
        return [(x, target), *others]

    def make_reference(self, device: torch.device) -> Reference:
        """The float64 gradients, made on the device. cuDNN's trials would take longer than it."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False
        try:
            tolerance = TOLERANCES[self.precision.name]
            return Reference(self.case, device, self.precision.dtype, tolerance)
        finally:
            torch.backends.cudnn.benchmark = before

    def step(self, trained: Trained, x: Tensor, target: Tensor) -> Tensor:
        """Forward, loss and backward; the gradients are fresh, and those of the scaled loss."""
        for parameter in trained.parameters:
            parameter.grad = None
        with self._autocast(x.device):
            loss = F.mse_loss(trained.forward(x), target)
        scaled = loss if self.loss_scale == 1 else self.loss_scale * loss
        scaled.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        if not self.autocasts:
            return contextlib.nullcontext()
        return torch.autocast(device.type, self.precision.dtype)


# Makes one step of a contender, to see whether it can.
TryStep = Callable[[Trained], object]


def channels_last(network: nn.Sequential, try_step: TryStep) -> Trained:
    """PyTorch in channels_last from the first layer on, even where it has one input channel.

    Where cuDNN cannot, the layout changes behind the first layer, as it does for who merely says
    `.to(memory_format=torch.channels_last)`.
    """
    ours = copy.deepcopy(network)
    for layer in ours:
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.Parameter(as_channels_last(layer.weight.detach()))
    trained = Trained(lambda x: ours(as_channels_last(x)), list(ours.parameters()))
    try:
        try_step(trained)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return STEPS["channels_last"](network)
    return trained


@dataclass(frozen=True)
class Contender:
    """One way of making the step."""

    make: Callable[[nn.Sequential, TryStep], Trained]
    expected_seconds: float = 2.0  # to build it, as long as no case has shown better
    environment: Mapping[str, str] = field(default_factory=dict)  # during its calls

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Its environment variables, as long as it lasts."""
        return overridden(self.environment)


CONTENDERS: dict[str, Contender] = {
    "fused": Contender(lambda network, _: STEPS["fused"](network)),
    "eager": Contender(lambda network, _: STEPS["eager"](network)),
    "channels_last": Contender(channels_last),
    "compile": Contender(lambda network, _: STEPS["compile"](network), expected_seconds=20),
}
COMPILED = ("compile",)


def forced(kernel: str) -> Contender:
    """The fused op, made to take one of its kernels in the forward and, where it has it, back."""
    return Contender(
        lambda network, _: STEPS["fused"](network), environment={KERNEL_VARIABLE: kernel}
    )


def begin_step(case: GpuStep, device: Device) -> Prepare:
    """The case's images and float64 gradients, for its contenders to be prepared with."""
    images = case.make_images(device.torch_device, device.cache_bytes)
    reference = case.make_reference(device.torch_device)
    device.release()  # the reference's features

    def prepare(contender: Contender) -> tuple[Runner, dict[str, Any]]:
        network = case.case.make_network().to(device.torch_device)
        trained = contender.make(network, lambda trained: case.step(trained, *images[0]))
        for pair in images[:3]:  # compiles, finds algorithms
            case.step(trained, *pair)
        # The next gradients will probably be put where these are: no earlier right ones may stand
        # in for them.
        for parameter in trained.parameters:
            if parameter.grad is not None:
                parameter.grad.fill_(math.nan)
        case.step(trained, *images[0])
        entry: dict[str, Any] = {
            "max_error": reference.max_error(trained.parameters, case.loss_scale)
        }

        def call(i: int) -> Tensor:
            return case.step(trained, *images[i])

        numbers = itertools.cycle(range(len(images)))
        entry["extra_bytes"] = device.extra_bytes(lambda: call(next(numbers)))
        return paced(contender, call, numbers, device), entry

    return prepare


def plan(
    batches: list[tuple[int, int]], networks: list[str], precisions: list[str]
) -> list[GpuStep]:
    """All cases, the most telling first: of each batch (number, side) every precision in turn."""
    return [
        GpuStep(TrainingCase(network, *batch), PRECISIONS[name])
        for batch, name, network in itertools.product(batches, precisions, networks)
    ]
