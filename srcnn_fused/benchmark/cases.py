"""What is measured: a network, an image, and the float64 output that every contender must give."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import reference

NETWORKS = ("9-1-5", "9-3-5", "9-5-5")
WIDTHS = (64, 32)

# By how much results may differ from float64 on images in [0, 1]; with 16 bits, from float64 of the
# rounded weights and image.
TOLERANCES = {"float32": 5e-5, "bfloat16": 2e-2}

# Variance of a layer's weights times its fan-in: 2 before a ReLU keeps the features as large as the
# image is, and 1 the output.
_GAINS = (2.0, 2.0, 1.0)

# The float64 convolutions need kilobytes a pixel, so the reference is made tile by tile; of an
# image too large to be worth it whole, nine tiles: corners, middles of the sides, centre.
_TILE = 192
_CHECK_WHOLE_UP_TO = 1 << 20  # pixels


def parse_size(text: str) -> tuple[int, int]:
    """ "960x540" -> (960, 540), width first. Raises ValueError."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"must be WIDTHxHEIGHT, such as 960x540, got {text!r}")
    return int(width), int(height)


class WrongOutput(Exception):  # noqa: N818  (a finding, not a fault of the program)
    """A contender's output is not the network's."""


@dataclass(frozen=True)
class Case:
    """One network on a batch of images. width and height are the output's, as are its pixels."""

    network: str
    width: int
    height: int
    channels: int = 1
    scale: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {self.network!r}")
        if self.scale is not None and self.scale < 1:
            raise ValueError(f"scale must be a positive integer, got {self.scale}")
        if self.width % self.factor or self.height % self.factor:
            raise ValueError(
                f"size must be a multiple of the scale {self.scale}, got {self.width}x{self.height}"
            )
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    @property
    def factor(self) -> int:
        """The enlargement, 1 where the input is enlarged already."""
        return self.scale or 1

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """f1, f2, f3."""
        return tuple(int(size) for size in self.network.split("-"))

    @property
    def pixels(self) -> int:
        """Pixels of the output, of all images."""
        return self.batch * self.width * self.height

    @property
    def values(self) -> int:
        """Numbers in input and output: the fewest that can be moved."""
        outputs = self.pixels * self.channels
        return outputs + outputs // self.factor**2

    @property
    def flop(self) -> int:
        """Operations of one forward as direct convolutions, two per multiply-add; no bicubic."""
        features = (self.channels, *WIDTHS, self.channels)
        per_pixel = sum(
            size * size * inputs * outputs
            for size, (inputs, outputs) in zip(
                self.kernel_sizes, itertools.pairwise(features), strict=True
            )
        )
        return 2 * per_pixel * self.pixels

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """[N, c, h, w] of the input."""
        height, width = self.height // self.factor, self.width // self.factor
        return (self.batch, self.channels, height, width)

    def describe(self) -> dict[str, Any]:
        """The case as a result file has it."""
        return {
            "network": self.network,
            "size": [self.width, self.height],
            "channels": self.channels,
            "scale": self.scale,
            "batch": self.batch,
            "flop": self.flop,
        }

    def make_network(self) -> nn.Sequential:
        """The usual SRCNN of three nn.Conv2d, float32, with the same random weights every time.

        Their spread keeps the features at the image's own size and the output within about one, as
        in a trained network: only so does a tolerance in absolute numbers mean something.
        """
        features = (self.channels, *WIDTHS, self.channels)
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for size, (inputs, outputs), gain in zip(
                self.kernel_sizes, itertools.pairwise(features), _GAINS, strict=True
            ):
                conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
                nn.init.normal_(conv.weight, std=math.sqrt(gain / (inputs * size * size)))
                layers += [conv, nn.ReLU(inplace=True)]
        return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)

    def make_input(self) -> Tensor:
        """[batch, channels, height / scale, width / scale], float32, noise in [0, 1]."""
        generator = torch.Generator().manual_seed(1)
        return torch.rand(self.input_shape, generator=generator)


def _starts(length: int, whole: bool) -> list[int]:
    """Where the tiles of one axis start."""
    if whole or length <= 3 * _TILE:
        return list(range(0, length, _TILE))
    return [0, (length - _TILE) // 2, length - _TILE]


class Reference:
    """The case's output in float64, whole or on tiles that reach every edge.

    It is made of network and x as they are given, on their device: where they are in 16 bits, of
    the rounded weights and image that every contender gets.
    """

    def __init__(
        self,
        case: Case,
        network: nn.Sequential,
        x: Tensor,
        tolerance: float | None = None,
    ) -> None:
        self._case = case
        if tolerance is None:
            tolerance = TOLERANCES[str(x.dtype).removeprefix("torch.")]
        self._tolerance = tolerance
        self._shape = (*x.shape[:2], case.height, case.width)
        parameters = [p.double() for p in network.parameters()]
        whole = case.pixels <= _CHECK_WHOLE_UP_TO
        self._tiles = [
            (top, left, self._tile(x, parameters, top, left))
            for top in _starts(case.height, whole)
            for left in _starts(case.width, whole)
        ]

    def _tile(self, x: Tensor, parameters: list[Tensor], top: int, left: int) -> Tensor:
        """One tile of the output, from as much of the input as it depends on.

        Cut edges within the image are wrong by the bicubic's 2 input pixels and by the network's
        radius, which the margin takes in; the image's own edges are kept and so are right.
        """
        factor = self._case.factor
        radius = sum(size // 2 for size in self._case.kernel_sizes)
        margin = 2 + math.ceil(radius / factor)

        def axis(start: int, length: int, in_length: int) -> tuple[slice, slice]:
            stop = min(start + _TILE, length)
            first = max(0, start // factor - margin)
            last = min(in_length, math.ceil(stop / factor) + margin)
            return slice(first, last), slice(start - first * factor, stop - first * factor)

        rows, out_rows = axis(top, self._case.height, x.shape[2])
        columns, out_columns = axis(left, self._case.width, x.shape[3])
        out = reference.srcnn(
            x[:, :, rows, columns].double(),
            *parameters,
            scale=self._case.scale,
            bicubic="torch",
        )
        return out[:, :, out_rows, out_columns].clone()

    def max_error(self, output: Tensor) -> float:
        """The largest difference of an output. Raises WrongOutput above the tolerance."""
        if output.shape != self._shape:
            raise WrongOutput(f"the output is {list(output.shape)}, not {list(self._shape)}")
        error = 0.0
        for top, left, want in self._tiles:
            height, width = want.shape[2:]
            got = output[:, :, top : top + height, left : left + width].double()
            difference = (got - want).abs().max().item()
            error = max(error, difference if math.isfinite(difference) else math.inf)
        if error > self._tolerance:
            raise WrongOutput(f"the output differs from float64 by {error:.1e}")
        return error
