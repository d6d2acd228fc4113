"""The recipe of a training run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from .._checks import CONVENTIONS, PADDING_MODES
from ..errors import UserError

__all__ = ["TrainConfig"]

# What may change when a run is resumed: where things are and what is shown, not what is computed.
MAY_CHANGE_ON_RESUME = frozenset(("out", "data", "val", "init", "checkpoint_every", "device"))
_LARGEST_KERNEL = 99
# Smallest and largest value. What is above is a slip of the keyboard, which should not cost the
# reading of all images before it fails for lack of memory.
_COUNT = (1, 10**12)
_RANGES = {
    "scale": (2, 64),
    "iterations": _COUNT,
    "batch": (1, 1 << 16),
    "crop": (1, 1 << 14),
    "validate_every": _COUNT,
    "checkpoint_every": _COUNT,
    "seed": (0, (1 << 63) - 1),  # what PyTorch's generators take as it is
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome of a run, and where it is.

    The defaults are an Adam recipe that reaches the published figures within half an hour of one
    CPU core. The papers' own: ``optimizer="sgd"`` with ``lr=1e-4``, ``lr_last=1e-5`` and
    ``schedule="constant"``, for some 10^8 crops.

    Attributes:
        data: folders of training images.
        val: folder of validation images.
        out: folder of the run.
        scale: enlargement to learn.
        network: kernel sizes, as in "9-1-5".
        iterations: steps in all.
        batch: crops a step.
        crop: side of a target crop in pixels.
        optimizer: "adam" or "sgd" (momentum 0.9, on the papers' scaling of the loss).
        lr, lr_last: learning rates of the first two layers and of the last one.
        schedule: "cosine" (down to 0 at the end) or "constant".
        rescale: also train on the images at 0.9, 0.8, 0.7 and 0.6 of their size.
        validate_every, checkpoint_every: iterations between two.
        seed: of the initial weights and of the crops, from 0 to 2^63 - 1.
        init: model (name or file) to start from; None starts afresh.
        bicubic: convention of the shrinking and enlarging.
        padding_mode: of the finished network. Training has no borders; validation does.
        backend: "reference", "fused", or "auto": the reference. The gradient of the fused op is
            computed through the reference anyway, so on small crops its forward is only a detour.
        device: "auto", "cpu" or "cuda".
    """

    data: tuple[str, ...]
    val: str
    out: str
    scale: int
    network: str = "9-1-5"
    iterations: int = 40_000
    batch: int = 16
    crop: int = 48
    optimizer: str = "adam"
    lr: float = 1e-3
    lr_last: float = 1e-4
    schedule: str = "cosine"
    rescale: bool = False
    validate_every: int = 1000
    checkpoint_every: int = 1000
    seed: int = 0
    init: str | None = None
    bicubic: str = "matlab"
    padding_mode: str = "replicate"
    backend: str = "auto"
    device: str = "auto"

    @property
    def kernel_sizes(self) -> tuple[int, int, int]:
        """(f1, f2, f3) of :attr:`network`."""
        parts = self.network.split("-")
        sizes = tuple(int(part) for part in parts if part.isdecimal() and len(part) < 10)
        if len(parts) != 3 or len(sizes) != 3 or any(size % 2 == 0 for size in sizes):
            raise UserError(
                f"--network must be three odd kernel sizes such as 9-1-5, got {self.network!r}"
            )
        if max(sizes) > _LARGEST_KERNEL:
            raise UserError(
                f"--network: kernel sizes go up to {_LARGEST_KERNEL}, got {self.network!r}"
            )
        return sizes[0], sizes[1], sizes[2]

    @property
    def model_name(self) -> str:
        """What the result is called, as in "9-1-5-x3"."""
        return f"{self.network}-x{self.scale}"

    def validate(self) -> None:
        """Raises UserError, naming the option, unless every value makes sense."""
        _ = self.kernel_sizes
        if not self.data:
            raise UserError("--data must name at least one folder of images")
        for name, (smallest, largest) in _RANGES.items():
            value = getattr(self, name)
            if value < smallest:
                raise UserError(f"{option(name)} must be at least {smallest}, got {value}")
            if value > largest:
                raise UserError(f"{option(name)} must be at most {largest}, got {value}")
        for name in ("lr", "lr_last"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{option(name)} must be a positive number, got {value}")
        choices: dict[str, tuple[str, ...]] = {
            "optimizer": ("adam", "sgd"),
            "schedule": ("cosine", "constant"),
            "bicubic": CONVENTIONS,
            "padding_mode": PADDING_MODES,
            "backend": ("auto", "fused", "reference"),
            "device": ("auto", "cpu", "cuda"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UserError(f"{option(name)} must be {'|'.join(allowed)}, got {value!r}")

    def check_same_recipe(self, other: TrainConfig) -> None:
        """Raises UserError unless ``other``, of the run that is resumed, computes the same."""
        mine, theirs = asdict(self), asdict(other)
        for name in mine.keys() - MAY_CHANGE_ON_RESUME:
            if mine[name] != theirs[name]:
                raise UserError(
                    f"{option(name)} is {mine[name]}, but the run to resume has {theirs[name]}: "
                    "leave it out, or start another run"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the checkpoint."""
        return {**asdict(self), "data": list(self.data)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**values, "data": tuple(values["data"])})


def option(name: str) -> str:
    """The command line's name of a setting."""
    return "--" + name.replace("_", "-")
