"""The arguments of the compiled ops, and their checks: those of csrc/ops.cpp, word for word.

The fake kernels make these checks (so that torch.compile and torch.export refuse what the real
kernels refuse), and so do the ops that are written in Python.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import CONVENTIONS, PADDING_MODES, SIDE_LIMIT, bad_scale, is_sensible_scale

# What the kernels compute in, per op and device type, where there are any.
_ON_CUDA = (torch.float32, torch.float16, torch.bfloat16)
KERNEL_DTYPES = {
    ("srcnn_forward", "cpu"): (torch.float32, torch.bfloat16),
    ("srcnn_forward", "cuda"): _ON_CUDA,
    ("bicubic_resize", "cpu"): (torch.float32,),
    ("bicubic_resize", "cuda"): _ON_CUDA,
}


class ForwardArguments(NamedTuple):
    """Those of srcnn_forward, in order."""

    x: Tensor  # [N, c, h, w]
    weight1: Tensor  # [64, c, 9, 9]
    bias1: Tensor  # [64]
    weight2: Tensor  # [32, 64, k, k], k = 1, 3 or 5
    bias2: Tensor  # [32]
    weight3: Tensor  # [c, 32, 5, 5]
    bias3: Tensor  # [c]
    scale: int
    bicubic: str
    padding_mode: str
    allow_tf32: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """x, weight1, bias1, ..., bias3."""
        return self[:7]

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        n, c, h, w = self.x.shape
        return n, c, self.scale * h, self.scale * w


class BackwardArguments(NamedTuple):
    """Those of srcnn_backward, in order."""

    grad_output: Tensor  # [N, c, scale * h, scale * w]
    x: Tensor
    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor
    weight3: Tensor
    bias3: Tensor
    scale: int
    bicubic: str
    padding_mode: str
    output_mask: Sequence[bool]  # x, weight1, bias1, ..., bias3
    allow_tf32: bool = False

    @property
    def forward(self) -> ForwardArguments:
        """The arguments of the forward that this is the backward of."""
        return ForwardArguments(*self[1:11], self.allow_tf32)


class ResizeArguments(NamedTuple):
    """Those of bicubic_resize and its backward, in order.

    The image and the size of the result; in the backward the gradient and the image's size.
    """

    x: Tensor  # [N, C, H, W]
    height: int
    width: int
    scale_height: float
    scale_width: float
    convention: str

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.x.shape[0], self.x.shape[1], self.height, self.width


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"


def _below(limit: int, *sides: int) -> bool:
    # Symbolic sides pass: a guard here would keep torch.export from leaving them free, and the real
    # kernel looks again.
    return all(side < limit for side in sides if isinstance(side, int))


def _kernel_dtype(op: str, x: Tensor) -> torch.dtype:
    """The dtype in which everything has to be: x's own if there is a kernel, else float32."""
    return x.dtype if x.dtype in KERNEL_DTYPES.get((op, x.device.type), ()) else torch.float32


def _check_dtype(tensor: Tensor, name: str, dtype: torch.dtype) -> None:
    expected, got = (str(one).removeprefix("torch.") for one in (dtype, tensor.dtype))
    _check(tensor.dtype == dtype, f"{name} must be {expected}, got {got}")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    quoted = [f"'{choice}'" for choice in choices]
    expected = ", ".join(quoted[:-1]) + " or " + quoted[-1]
    _check(value in choices, f"{name} must be {expected}, got '{value}'")


def _check_rank(x: Tensor, name: str) -> None:
    _check(
        x.dim() == 4 and x.shape[2] >= 1 and x.shape[3] >= 1,
        f"{name} must be [N, C, H, W] with H and W at least 1, got {_shape(x)}",
    )


def _check_image(x: Tensor, dtype: torch.dtype) -> None:
    _check_rank(x, "x")
    _check(
        _below(SIDE_LIMIT, x.shape[2], x.shape[3]),
        f"x must have sides below 2^31, got {_shape(x)}",
    )
    _check_dtype(x, "x", dtype)


def _check_shape(tensor: Tensor, name: str, expected: Sequence[int]) -> None:
    text = ", ".join(map(str, expected))
    _check(
        tensor.dim() == len(expected) and all(map(operator.eq, tensor.shape, expected)),
        f"{name} must be [{text}], got {_shape(tensor)}",
    )


def check_forward(arguments: ForwardArguments) -> None:
    """Raises RuntimeError where srcnn_forward would."""
    x, weight2 = arguments.x, arguments.weight2
    dtype = _kernel_dtype("srcnn_forward", x)
    _check_image(x, dtype)
    channels = x.shape[1]
    _check(channels in (1, 3), f"x must have 1 or 3 channels, got {_shape(x)}")
    for name, tensor in zip(arguments._fields[1:7], arguments.tensors[1:], strict=True):
        _check_dtype(tensor, name, dtype)
        _check(tensor.device == x.device, f"{name} must be on the same device as x")
    _check_shape(arguments.weight1, "weight1", (64, channels, 9, 9))
    _check_shape(arguments.bias1, "bias1", (64,))
    kernel2 = weight2.shape[3] if weight2.dim() == 4 else 0
    _check(
        kernel2 in (1, 3, 5),
        f"weight2 must be [32, 64, k, k] with k = 1, 3 or 5, got {_shape(weight2)}",
    )
    _check_shape(weight2, "weight2", (32, 64, kernel2, kernel2))
    _check_shape(arguments.bias2, "bias2", (32,))
    _check_shape(arguments.weight3, "weight3", (channels, 32, 5, 5))
    _check_shape(arguments.bias3, "bias3", (channels,))
    scale = arguments.scale
    _check(scale >= 1, f"scale must be at least 1, got {scale}")
    _check(
        _below(SIDE_LIMIT // scale, x.shape[2], x.shape[3]),
        f"scale must keep the sides below 2^31, got {scale} for x of {_shape(x)}",
    )
    _check_choice("bicubic", arguments.bicubic, CONVENTIONS)
    _check_choice("padding_mode", arguments.padding_mode, PADDING_MODES)


def check_backward(arguments: BackwardArguments) -> None:
    """Raises RuntimeError where srcnn_backward would."""
    forward = arguments.forward
    check_forward(forward)
    _check_shape(arguments.grad_output, "grad_output", forward.output_shape)
    _check_dtype(arguments.grad_output, "grad_output", _kernel_dtype("srcnn_forward", forward.x))
    _check(
        arguments.grad_output.device == forward.x.device,
        "grad_output must be on the same device as x",
    )
    given = len(arguments.output_mask)
    _check(given == 7, f"output_mask must have 7 entries, got {given}")


def _check_resized(arguments: ResizeArguments, image: tuple[int, int]) -> None:
    """The checks after those of the tensor; `image` is height and width of what is resized."""
    height, width = arguments.height, arguments.width
    _check(
        height >= 1 and width >= 1 and _below(SIDE_LIMIT, height, width),
        f"size must be at least 1 and below 2^31, got ({height}, {width})",
    )
    scales = (arguments.scale_height, arguments.scale_width)
    for scale, length in zip(scales, image, strict=True):
        # Symbols pass, as in _below.
        known = isinstance(scale, float) and isinstance(length, int)
        if known and not is_sensible_scale(scale, length):
            raise RuntimeError(bad_scale("scale", scales, *image))
    _check_choice("convention", arguments.convention, CONVENTIONS)


def check_resize(arguments: ResizeArguments) -> None:
    """Raises RuntimeError where bicubic_resize would."""
    x = arguments.x
    _check_image(x, _kernel_dtype("bicubic_resize", x))
    _check_resized(arguments, (x.shape[2], x.shape[3]))


def check_resize_backward(arguments: ResizeArguments) -> None:
    """Raises RuntimeError where bicubic_resize_backward would."""
    grad_output = arguments.x
    _check_rank(grad_output, "grad_output")
    _check_dtype(grad_output, "grad_output", _kernel_dtype("bicubic_resize", grad_output))
    _check_resized(arguments, (arguments.height, arguments.width))


def new_output(x: Tensor, shape: Sequence[int]) -> Tensor:
    """An uninitialized tensor like x; one line of RuntimeError where no memory holds it."""
    try:
        return x.new_empty(shape)
    except RuntimeError:
        if not all(isinstance(length, int) for length in shape):
            raise
        text = ", ".join(map(str, shape))
        raise RuntimeError(f"not enough memory for an output of [{text}]") from None
