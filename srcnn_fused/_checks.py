"""Argument checks, shared by the reference, the functional interface and the fake kernels.

Every message names the argument, what it must be and what came. csrc/ops.cpp makes the same checks
for callers that reach the ops directly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# As in csrc/bicubic.h: smaller scales have windows of millions of samples, or of a thousand images
# side by side, for one sample of output.
MIN_SCALE, MAX_SCALE, MIN_OUTPUT = 1e-6, 1e9, 1e-3
SIDE_LIMIT = 2**31 - 1  # the kernels count rows and columns in 32 bits

CONVENTIONS = ("matlab", "pil", "torch")
PADDING_MODES = ("zeros", "replicate")
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises ValueError unless value is one of the choices."""
    if value not in choices:
        expected = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {expected}, got {value!r}")


def check_srcnn_scale(scale: object) -> int:
    """Returns the enlargement factor, 1 for None; raises unless it is a positive integer."""
    if scale is None:
        return 1
    if isinstance(scale, bool) or not isinstance(scale, int):
        raise TypeError(f"scale must be a positive integer or None, got {scale!r}")
    if scale < 1:
        raise ValueError(f"scale must be a positive integer or None, got {scale}")
    return scale


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(str(length) for length in tensor.shape) + "]"


def _check_is_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def parameter_names(count: int) -> tuple[str, ...]:
    """weight1, bias1, weight2, ...: what messages call the parameters of a network."""
    return tuple(f"{'bias' if index % 2 else 'weight'}{index // 2 + 1}" for index in range(count))


def check_floating(*tensors: object) -> None:
    """Checks that x, weight1, bias1, ... are tensors of floating dtypes, not all the same."""
    names = ("x", *parameter_names(len(tensors) - 1))
    for name, tensor in zip(names, tensors, strict=True):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
        if tensor.dtype not in FLOAT_DTYPES:
            raise TypeError(
                f"{name} must be float16, bfloat16, float32 or float64, got {tensor.dtype}"
            )


def check_srcnn(
    x: Tensor,  # [N, c, h, w]
    *parameters: Tensor,  # weight1 [n1, c, f1, f1], bias1 [n1], weight2, ...: three layers or more
    bicubic: str,
    padding_mode: str,
) -> None:
    """Checks the arguments of srcnn, but for the scale (see check_srcnn_scale)."""
    if len(parameters) % 2:
        raise TypeError(f"weight{len(parameters) // 2 + 1} comes without its bias")
    check_floating(x, *parameters)
    for name, tensor in zip(parameter_names(len(parameters)), parameters, strict=True):
        if tensor.dtype != x.dtype:
            raise TypeError(f"{name} must be {x.dtype} as x is, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"{name} must be on {x.device} as x is, got {tensor.device}")
    weights, biases = parameters[::2], parameters[1::2]
    channels = weights[0].shape[1] if weights[0].dim() == 4 else 1
    _check_layer(1, weights[0], biases[0], ("n1", channels))
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"x must be [N, {channels}, H, W], got {_shape(x)}")
    if x.shape[2] < 1 or x.shape[3] < 1:
        raise ValueError(f"x must have at least one row and one column, got {_shape(x)}")
    for number in range(2, len(weights) + 1):
        outputs = channels if number == len(weights) else f"n{number}"
        inputs = weights[number - 2].shape[0]
        _check_layer(number, weights[number - 1], biases[number - 1], (outputs, inputs))
    check_choice("bicubic", bicubic, CONVENTIONS)
    check_choice("padding_mode", padding_mode, PADDING_MODES)


def _check_layer(
    number: int, weight: Tensor, bias: Tensor, expected: tuple[int | str, int]
) -> None:
    """Checks one convolution against the (outputs, inputs) it must have; a name fits any number."""
    outputs, inputs = expected
    if (
        weight.dim() != 4
        or weight.shape[1] != inputs
        or (isinstance(outputs, int) and weight.shape[0] != outputs)
    ):
        raise ValueError(
            f"weight{number} must be [{outputs}, {inputs}, f, f], got {_shape(weight)}"
        )
    if weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
        raise ValueError(
            f"weight{number} must have a square kernel of odd size, got {_shape(weight)}"
        )
    if bias.dim() != 1 or bias.shape[0] != weight.shape[0]:
        raise ValueError(f"bias{number} must be [{weight.shape[0]}], got {_shape(bias)}")


def check_bicubic_input(x: Tensor, convention: str) -> None:
    """Checks the image and the convention of bicubic_resize."""
    _check_is_tensor("x", x)
    if x.dtype != torch.uint8 and x.dtype not in FLOAT_DTYPES:
        raise TypeError(f"x must be float16, bfloat16, float32, float64 or uint8, got {x.dtype}")
    if x.dim() not in (2, 3, 4):
        raise ValueError(f"x must be [N, C, H, W], [C, H, W] or [H, W], got {_shape(x)}")
    if x.shape[-2] < 1 or x.shape[-1] < 1:
        raise ValueError(f"x must have at least one row and one column, got {_shape(x)}")
    check_choice("convention", convention, CONVENTIONS)


def _pair(name: str, value: Any, kind: str) -> tuple[Any, Any]:
    if isinstance(value, (tuple, list, torch.Size)) and len(value) == 2:
        return value[0], value[1]
    raise TypeError(f"{name} must be {kind}, got {value!r}")


def is_sensible_scale(scale: float, length: int) -> bool:
    """Whether bicubic resampling of an axis by this scale is worth trying."""
    return MIN_SCALE <= scale <= MAX_SCALE and scale * length >= MIN_OUTPUT


def bad_scale(name: str, scales: tuple[float, float], height: int, width: int) -> str:
    """The message for scales that are not sensible."""
    return (
        f"{name} must be from {MIN_SCALE:g} to {MAX_SCALE:g}, and at least {MIN_OUTPUT:g} / length,"
        f" got ({float(scales[0]):g}, {float(scales[1]):g}) for {height} x {width} pixels"
    )


def _check_scales(name: str, scales: tuple[float, float], height: int, width: int) -> None:
    # A compiled graph has symbols here, which the ops look at when they are numbers.
    if torch.compiler.is_compiling():
        return
    if not (is_sensible_scale(scales[0], height) and is_sensible_scale(scales[1], width)):
        raise ValueError(bad_scale(name, scales, height, width))


def _check_size(height: int, width: int) -> None:
    if torch.compiler.is_compiling():
        return
    if max(height, width) >= SIDE_LIMIT or height * width >= 2**60:
        raise ValueError(f"size must be below 2^31 a side and 2^60 in all, got ({height}, {width})")


def resize_geometry(
    height: int,
    width: int,
    scale: float | tuple[float, float] | None,
    size: tuple[int, int] | None,
    convention: str,
) -> tuple[int, int, float, float]:
    """Output size and per-axis scale: (out_height, out_width, scale_height, scale_width).

    From a scale, the size is ceil(scale * length) in the matlab convention, as imresize has it, and
    floor(scale * length), at least 1, in the others. From a size, the scale is out / in. Scales
    that would take more than a thousand images side by side for one pixel are refused, and sizes
    that no memory holds.
    """
    if (scale is None) == (size is None):
        raise ValueError(f"give either scale or size, got scale={scale!r} and size={size!r}")
    if size is not None:
        out_height, out_width = _pair("size", size, "(height, width)")
        for length in (out_height, out_width):
            if isinstance(length, bool) or not isinstance(length, (int, torch.SymInt)):
                raise TypeError(f"size must be two positive integers, got {size!r}")
            if length < 1:
                raise ValueError(f"size must be two positive integers, got {size!r}")
        _check_size(out_height, out_width)
        scales = (out_height / height, out_width / width)
        _check_scales("size / length", scales, height, width)
        return out_height, out_width, *scales

    kind = "a positive number or (scale_height, scale_width)"
    if isinstance(scale, (int, float)):
        scale_height, scale_width = scale, scale
    else:
        scale_height, scale_width = _pair("scale", scale, kind)
    for factor in (scale_height, scale_width):
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            raise TypeError(f"scale must be {kind}, got {scale!r}")
        if not 0 < factor < math.inf:
            raise ValueError(f"scale must be {kind}, got {scale!r}")
    _check_scales("scale", (scale_height, scale_width), height, width)
    out_height = _scaled_length(height, scale_height, convention)
    out_width = _scaled_length(width, scale_width, convention)
    _check_size(out_height, out_width)
    return out_height, out_width, float(scale_height), float(scale_width)


def _scaled_length(length: int, scale: float, convention: str) -> int:
    if scale == int(scale):
        return length * int(scale)
    if convention == "matlab":
        return math.ceil(scale * length)
    return max(1, math.floor(scale * length))
