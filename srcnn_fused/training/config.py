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
_LARGEST_WIDTH = 4096
# Smallest and largest value. What is above is a slip of the keyboard, which should not cost the
# reading of all images before it fails for lack of memory.
_COUNT = (1, 10**12)
_RANGES = {
    "scale": (2, 64),
    "iterations": _COUNT,
    "batch": (1, 1 << 16),
    "accumulate": (1, 1 << 16),
    "warmup": (0, 10**12),
    "crop": (1, 1 << 14),
    "validate_every": _COUNT,
    "checkpoint_every": _COUNT,
    "seed": (0, (1 << 63) - 1),  # what PyTorch's generators take as it is
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adam", "sgd"),
    "schedule": ("cosine", "constant"),
    "precision": ("float32", "bfloat16", "float16"),
    "color": ("luma", "rgb", "ycbcr"),
    "bicubic": CONVENTIONS,
    "padding_mode": PADDING_MODES,
    "backend": ("auto", "fused", "reference"),
    "device": ("auto", "cpu", "cuda"),
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
        network: kernel sizes of three layers or more, as in "9-1-5". More train on the reference.
        widths: feature maps of every layer but the last. Others than 64-32 train on the reference.
        color: what the network takes and gives: "luma" (1 channel), "rgb", or "ycbcr": 3 channels
            that train as MATLAB's YCbCr, and are saved as the RGB network that computes the same.
        iterations: steps in all.
        batch: crops at once, over all processes that torchrun starts.
        crop: side of a target crop in pixels.
        optimizer: "adam" or "sgd" (momentum 0.9, on the papers' scaling of the loss).
        lr, lr_last: learning rates of all layers but the last, and of the last one.
        schedule: "cosine" (down to 0 at the end) or "constant".
        warmup: first iterations, in which the learning rates rise linearly to their full height.
        accumulate: batches whose gradients make one step; 4 of 16 crops equal one of 64.
        ema: decay of the moving average of the weights, such as 0.999, which is validated and
            saved in their place; 0 for none.
        clip_grad: largest norm of all gradients together, longer ones being scaled down to it;
            0 for none. SGD's are those of the papers' loss, some 220 times larger.
        precision: "float32"; or "bfloat16" or (CUDA only) "float16", in which the layers are
            computed while weights and their updates stay float32. On CPUs bfloat16 runs on the
            reference.
        rescale: also train on the images at 0.9, 0.8, 0.7 and 0.6 of their size.
        validate_every, checkpoint_every: iterations between two.
        seed: of the initial weights and of the crops, from 0 to 2^63 - 1.
        init: model (name or file) to start from; None starts afresh. Smaller kernels are put into
            the middle of larger ones (:func:`.growth.grow`), so that training starts at the same
            function; a luma network may start one of three channels.
        bicubic: convention of the shrinking and enlarging.
        padding_mode: of the finished network. Training has no borders; validation does.
        backend: of the training step: "fused"; "reference", which keeps all features; or "auto":
            fused wherever the op has a kernel both ways (on CPUs: 9-1-5, 9-3-5 and 9-5-5 of widths
            64-32). Where the backward would run through the reference, the fused forward would
            only be a detour.
        device: "auto", "cpu" or "cuda".
    """

    data: tuple[str, ...]
    val: str
    out: str
    scale: int
    network: str = "9-1-5"
    widths: str = "64-32"
    color: str = "luma"
    iterations: int = 40_000
    batch: int = 16
    crop: int = 48
    optimizer: str = "adam"
    lr: float = 1e-3
    lr_last: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 0
    accumulate: int = 1
    ema: float = 0.0
    clip_grad: float = 0.0
    precision: str = "float32"
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
    def kernel_sizes(self) -> tuple[int, ...]:
        """(f1, f2, f3) of :attr:`network`, or more."""
        sizes = _numbers(self.network)
        if sizes is None or len(sizes) < 3 or any(size % 2 == 0 for size in sizes):
            raise UserError(
                "--network must be three odd kernel sizes such as 9-1-5, or more, "
                f"got {self.network!r}"
            )
        if max(sizes) > _LARGEST_KERNEL:
            raise UserError(
                f"--network: kernel sizes go up to {_LARGEST_KERNEL}, got {self.network!r}"
            )
        return sizes

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """(n1, n2) of :attr:`widths`, or more: one fewer than :attr:`kernel_sizes`."""
        count = len(self.kernel_sizes) - 1
        widths = _numbers(self.widths)
        if (
            widths is None
            or len(widths) != count
            or not 1 <= min(widths) <= max(widths) <= _LARGEST_WIDTH
        ):
            number = "two" if count == 2 else f"{count}"
            network = "" if count == 2 else f" for the {count + 1} layers of {self.network}"
            example = "-".join(("64", "32", *["16"] * (count - 2)))
            raise UserError(
                f"--widths must be {number} numbers from 1 to {_LARGEST_WIDTH} such as {example}"
                f"{network}, got {self.widths!r}"
            )
        return widths

    @property
    def num_channels(self) -> int:
        """Channels of the network: 1 for luma, else 3."""
        return 1 if self.color == "luma" else 3

    @property
    def model_name(self) -> str:
        """What the result is called, as in "9-1-5-x3", "9-5-5-x3-rgb" or "9-1-5-n32-16-x3"."""
        return f"{self.network}{self._widths_in_name}-x{self.scale}{self._color_in_name}"

    @property
    def former_model_name(self) -> str:
        """The name with the colour first, which it had once: the folder of a resumed run may."""
        return f"{self.network}{self._color_in_name}{self._widths_in_name}-x{self.scale}"

    @property
    def _color_in_name(self) -> str:
        return "" if self.color == "luma" else f"-{self.color}"

    @property
    def _widths_in_name(self) -> str:
        return "" if self.layer_widths == (64, 32) else f"-n{self.widths}"

    def validate(self) -> None:
        """Raises UserError, naming the option, unless every value makes sense."""
        _ = self.kernel_sizes, self.layer_widths
        if not self.data:
            raise UserError("--data must name at least one folder of images")
        self._validate_numbers()
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UserError(f"{option(name)} must be {'|'.join(allowed)}, got {value!r}")
        if self.color == "ycbcr" and self.padding_mode != "replicate":
            # Zero is black in RGB and strong green in YCbCr: no RGB network computes the same.
            raise UserError("--color ycbcr needs --padding-mode replicate")

    def _validate_numbers(self) -> None:
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
        if not 0 <= self.ema < 1:
            raise UserError(f"--ema must be a decay from 0 to below 1, got {self.ema}")
        if not (math.isfinite(self.clip_grad) and self.clip_grad >= 0):
            raise UserError(f"--clip-grad must be a positive norm or 0, got {self.clip_grad}")
        if self.warmup >= self.iterations:
            raise UserError(
                f"--warmup must be less than the {self.iterations} iterations, got {self.warmup}"
            )

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


def _numbers(text: str) -> tuple[int, ...] | None:
    """The numbers of "9-1-5", or None where it is no such text."""
    parts = text.split("-")
    numbers = tuple(int(part) for part in parts if part.isdecimal() and len(part) < 10)
    return numbers if len(parts) == len(numbers) else None


def option(name: str) -> str:
    """The command line's name of a setting."""
    return "--" + name.replace("_", "-")
