"""What is measured on a GPU: shapes, networks and precisions, the most telling first."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from srcnn_fused.benchmark import cases
from srcnn_fused.benchmark.cases import Case, Reference
from srcnn_fused.benchmark.tables import case_title

# BATCHxWIDTHxHEIGHT of the output, from an input SCALE times smaller.
_SHAPE = re.compile(r"(?:(\d+)x)?(\d+)x(\d+)(?:/(\d+))?")


@dataclass(frozen=True)
class Shape:
    """Batch, width and height of the output, and by how much the input is enlarged."""

    batch: int
    width: int
    height: int
    scale: int | None = None


def parse_shape(text: str) -> Shape:
    """ "1920x1080", "64x256x256" (64 images), "1920x1080/3" (from 640x360); for argparse."""
    found = _SHAPE.fullmatch(text)
    if found is None or 0 in (sizes := [int(size or 1) for size in found.groups()]):
        raise argparse.ArgumentTypeError(
            f"must be [BATCHx]WIDTHxHEIGHT[/SCALE], such as 64x256x256 or 1920x1080/3, got {text!r}"
        )
    batch, width, height, scale = sizes
    return Shape(batch, width, height, scale if found[4] else None)


@dataclass(frozen=True)
class Precision:
    """A dtype, and whether its products may be rounded to TF32."""

    name: str
    dtype: torch.dtype
    tolerance: float  # largest difference from float64 on images in [0, 1]
    allow_tf32: bool = False

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Sets PyTorch's switches for TF32 and lets cuDNN try its algorithms, as long as it lasts.

        The older names of the switches: the newer ones may not be mixed with them, and the
        libraries still read these.
        """
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
        cudnn.allow_tf32 = matmul.allow_tf32 = self.allow_tf32
        cudnn.benchmark = True
        try:
            yield
        finally:
            cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("float16", torch.float16, 4e-3),
        Precision("float32", torch.float32, cases.TOLERANCES["float32"]),
        Precision("tf32", torch.float32, 2e-3, allow_tf32=True),
        Precision("bfloat16", torch.bfloat16, cases.TOLERANCES["bfloat16"]),
    )
}


@dataclass(frozen=True)
class GpuCase:
    """A case in a precision."""

    case: Case
    precision: Precision

    @property
    def shape(self) -> Shape:
        """Of the output, as the options have it."""
        return Shape(self.case.batch, self.case.width, self.case.height, self.case.scale)

    @property
    def bytes(self) -> int:
        """The fewest bytes that can be moved: the input read once, the output written once."""
        return self.case.values * self.precision.dtype.itemsize

    @property
    def title(self) -> str:
        """ "9-1-5, 1920x1080, float16", and what is not as usual."""
        return f"{case_title(self.case.describe())}, {self.precision.name}"

    def describe(self) -> dict[str, Any]:
        """The case as a result file has it."""
        return self.case.describe() | {"precision": self.precision.name, "bytes": self.bytes}

    def make_network(self, device: torch.device) -> nn.Sequential:
        """Case.make_network, rounded to the precision's dtype."""
        return self.case.make_network().to(device, self.precision.dtype)

    def make_inputs(self, device: torch.device, cache_bytes: int) -> list[Tensor]:
        """Inputs to rotate through, at least two, together larger than the cache."""
        first = self.case.make_input().to(device, self.precision.dtype)
        count = max(2, -(-cache_bytes * 5 // 4 // first.nbytes))
        return [first, *(torch.rand_like(first) for _ in range(count - 1))]

    def make_reference(self, network: nn.Sequential, x: Tensor) -> Reference:
        """The float64 output, made on the device. cuDNN's trials would take longer than it."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False
        try:
            return Reference(self.case, network, x, self.precision.tolerance)
        finally:
            torch.backends.cudnn.benchmark = before

    def floor_ms(self, ceilings: dict[str, Any]) -> float:
        """What no version runs much faster than: all its products, or all its bytes."""
        compute: float = self.case.flop / (1e12 * ceilings["matmul_tflops"][self.precision.name])
        memory: float = self.bytes / (1e9 * ceilings["copy_gb_per_s"])
        return 1e3 * max(compute, memory)


def plan(
    shapes: list[Shape], networks: list[str], precisions: list[str], channels: int
) -> list[GpuCase]:
    """All cases, the most telling first: the first shape in every precision, then the others."""
    pairs = [
        *((shapes[0], name) for name in precisions),
        *((shape, name) for name, shape in itertools.product(precisions, shapes[1:])),
    ]
    return [
        GpuCase(
            Case(network, shape.width, shape.height, channels, shape.scale, shape.batch),
            PRECISIONS[name],
        )
        for (shape, name), network in itertools.product(pairs, networks)
    ]
