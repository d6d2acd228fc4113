"""The compiled ops, torch.ops.srcnn_fused.*: typed wrappers, fake kernels and derivatives.

csrc/ops.cpp declares the four ops and implements the two forward ones, csrc/ops_backward.cpp
srcnn_backward for the CPU. Here they get what torch wants of an op besides: a fake kernel, which is
the real one's argument checks and the shape of its result (so that torch.compile and torch.export
can trace through), and an autograd formula. What has no compiled backward runs through the
reference. Without the extension nothing is registered.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _extension, reference
from ._checks import CONVENTIONS, PADDING_MODES, SIDE_LIMIT, bad_scale, is_sensible_scale

__all__ = ["bicubic_resize", "bicubic_resize_backward", "srcnn_backward", "srcnn_forward"]

# What the kernels of srcnn_forward compute in, where there are any; bicubic_resize has float32.
FORWARD_DTYPES = {
    "cpu": (torch.float32,),
    "cuda": (torch.float32, torch.float16, torch.bfloat16),
}


def srcnn_forward(
    x: Tensor,  # [N, c, h, w]
    weight1: Tensor,  # [64, c, 9, 9]
    bias1: Tensor,  # [64]
    weight2: Tensor,  # [32, 64, k, k], k = 1, 3 or 5
    bias2: Tensor,  # [32]
    weight3: Tensor,  # [c, 32, 5, 5]
    bias3: Tensor,  # [c]
    scale: int,
    bicubic: str,
    padding_mode: str,
) -> Tensor:
    """srcnn_fused::srcnn_forward, float32: [N, c, scale * h, scale * w]; 1 enlarges nothing."""
    out: Tensor = torch.ops.srcnn_fused.srcnn_forward(
        x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode
    )
    return out


def srcnn_backward(
    grad_output: Tensor,  # [N, c, scale * h, scale * w]
    x: Tensor,  # [N, c, h, w]
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    weight3: Tensor,
    bias3: Tensor,
    scale: int,
    bicubic: str,
    padding_mode: str,
    output_mask: Sequence[bool],  # x, weight1, bias1, ..., bias3
) -> list[Tensor]:
    """srcnn_fused::srcnn_backward: the gradients that output_mask wants, only those, in order."""
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    grads: list[Tensor] = torch.ops.srcnn_fused.srcnn_backward(
        grad_output, *tensors, scale, bicubic, padding_mode, list(output_mask)
    )
    return grads


def bicubic_resize(
    x: Tensor,  # [N, C, H, W]
    out_height: int,
    out_width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    """srcnn_fused::bicubic_resize, float32: [N, C, out_height, out_width]."""
    out: Tensor = torch.ops.srcnn_fused.bicubic_resize(
        x, out_height, out_width, scale_height, scale_width, convention
    )
    return out


def bicubic_resize_backward(
    grad_output: Tensor,  # [N, C, out_height, out_width]
    height: int,
    width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    """srcnn_fused::bicubic_resize_backward: [N, C, height, width]."""
    grad: Tensor = torch.ops.srcnn_fused.bicubic_resize_backward(
        grad_output, height, width, scale_height, scale_width, convention
    )
    return grad


# --- Argument checks: those of csrc/ops.cpp, in its words and its order ---------------------------


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)


def _below(limit: int, *sides: int) -> bool:
    # Symbolic sides pass: a guard here would keep torch.export from leaving them free, and the real
    # kernel looks again.
    return all(side < limit for side in sides if isinstance(side, int))


def _check_dtype(tensor: Tensor, name: str, dtype: torch.dtype = torch.float32) -> None:
    expected, got = (str(one).removeprefix("torch.") for one in (dtype, tensor.dtype))
    _check(tensor.dtype == dtype, f"{name} must be {expected}, got {got}")


def _forward_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which everything has to be: x's own if there is a kernel, else float32."""
    return x.dtype if x.dtype in FORWARD_DTYPES.get(x.device.type, ()) else torch.float32


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    quoted = [f"'{choice}'" for choice in choices]
    expected = ", ".join(quoted[:-1]) + " or " + quoted[-1]
    _check(value in choices, f"{name} must be {expected}, got '{value}'")


def _check_image(x: Tensor, dtype: torch.dtype = torch.float32) -> None:
    _check(
        x.dim() == 4 and x.shape[2] >= 1 and x.shape[3] >= 1,
        f"x must be [N, C, H, W] with H and W at least 1, got {_shape(x)}",
    )
    _check(
        _below(SIDE_LIMIT, x.shape[2], x.shape[3]),
        f"x must have sides below 2^31, got {_shape(x)}",
    )
    _check_dtype(x, "x", dtype)


def _check_scales(scales: tuple[float, float], height: int, width: int) -> None:
    for scale, length in zip(scales, (height, width), strict=True):
        # Symbols pass, as in _below.
        known = isinstance(scale, float) and isinstance(length, int)
        if known and not is_sensible_scale(scale, length):
            raise RuntimeError(bad_scale("scale", scales, height, width))


def _new_output(x: Tensor, shape: Sequence[int]) -> Tensor:
    try:
        return x.new_empty(shape)
    except RuntimeError:
        if not all(isinstance(length, int) for length in shape):
            raise
        text = ", ".join(map(str, shape))
        raise RuntimeError(f"not enough memory for an output of [{text}]") from None


def _check_shape(tensor: Tensor, name: str, expected: Sequence[int]) -> None:
    text = ", ".join(map(str, expected))
    _check(
        tensor.dim() == len(expected) and all(map(operator.eq, tensor.shape, expected)),
        f"{name} must be [{text}], got {_shape(tensor)}",
    )


def _check_forward(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    weight3: Tensor,
    bias3: Tensor,
    scale: int,
    bicubic: str,
    padding_mode: str,
) -> None:
    dtype = _forward_dtype(x)
    _check_image(x, dtype)
    channels = x.shape[1]
    _check(channels in (1, 3), f"x must have 1 or 3 channels, got {_shape(x)}")
    parameters = (weight1, bias1, weight2, bias2, weight3, bias3)
    names = ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3")
    for tensor, name in zip(parameters, names, strict=True):
        _check_dtype(tensor, name, dtype)
        _check(tensor.device == x.device, f"{name} must be on the same device as x")
    _check_shape(weight1, "weight1", (64, channels, 9, 9))
    _check_shape(bias1, "bias1", (64,))
    kernel2 = weight2.shape[3] if weight2.dim() == 4 else 0
    _check(
        kernel2 in (1, 3, 5),
        f"weight2 must be [32, 64, k, k] with k = 1, 3 or 5, got {_shape(weight2)}",
    )
    _check_shape(weight2, "weight2", (32, 64, kernel2, kernel2))
    _check_shape(bias2, "bias2", (32,))
    _check_shape(weight3, "weight3", (channels, 32, 5, 5))
    _check_shape(bias3, "bias3", (channels,))
    _check(scale >= 1, f"scale must be at least 1, got {scale}")
    _check(
        _below(SIDE_LIMIT // scale, x.shape[2], x.shape[3]),
        f"scale must keep the sides below 2^31, got {scale} for x of {_shape(x)}",
    )
    _check_choice("bicubic", bicubic, CONVENTIONS)
    _check_choice("padding_mode", padding_mode, PADDING_MODES)


# --- Fake kernels ---------------------------------------------------------------------------------


def _srcnn_forward_fake(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    weight3: Tensor,
    bias3: Tensor,
    scale: int,
    bicubic: str,
    padding_mode: str,
) -> Tensor:
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    _check_forward(*tensors, scale, bicubic, padding_mode)
    return _new_output(x, (x.shape[0], x.shape[1], scale * x.shape[2], scale * x.shape[3]))


def _bicubic_resize_fake(
    x: Tensor,
    out_height: int,
    out_width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    _check_image(x)
    _check(
        out_height >= 1 and out_width >= 1 and _below(SIDE_LIMIT, out_height, out_width),
        f"size must be at least 1 and below 2^31, got ({out_height}, {out_width})",
    )
    _check_scales((scale_height, scale_width), x.shape[2], x.shape[3])
    _check_choice("convention", convention, CONVENTIONS)
    return _new_output(x, (x.shape[0], x.shape[1], out_height, out_width))


# --- The backward ops, through the reference where there is no kernel -----------------------------


def _check_backward_arguments(
    grad_output: Tensor, x: Tensor, scale: int, output_mask: Sequence[bool]
) -> None:
    shape = (x.shape[0], x.shape[1], scale * x.shape[2], scale * x.shape[3])
    _check_shape(grad_output, "grad_output", shape)
    _check_dtype(grad_output, "grad_output", _forward_dtype(x))
    _check(len(output_mask) == 7, f"output_mask must have 7 entries, got {len(output_mask)}")


def _srcnn_backward(
    grad_output: Tensor,
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    weight3: Tensor,
    bias3: Tensor,
    scale: int,
    bicubic: str,
    padding_mode: str,
    output_mask: Sequence[bool],
) -> list[Tensor]:
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    _check_forward(*tensors, scale, bicubic, padding_mode)
    _check_backward_arguments(grad_output, x, scale, output_mask)
    # A loss may call backward inside autocast, which must not reach these convolutions.
    with torch.autocast(x.device.type, enabled=False):
        return reference.srcnn_backward(
            grad_output,
            *tensors,
            scale=scale,
            bicubic=bicubic,
            padding_mode=padding_mode,
            output_mask=output_mask,
        )


def _srcnn_backward_fake(
    grad_output: Tensor,
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    weight3: Tensor,
    bias3: Tensor,
    scale: int,
    bicubic: str,
    padding_mode: str,
    output_mask: Sequence[bool],
) -> list[Tensor]:
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    _check_forward(*tensors, scale, bicubic, padding_mode)
    _check_backward_arguments(grad_output, x, scale, output_mask)
    return [t.new_empty(t.shape) for t, want in zip(tensors, output_mask, strict=True) if want]


def _check_resize_backward(
    grad_output: Tensor,
    height: int,
    width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> None:
    _check(
        grad_output.dim() == 4 and grad_output.shape[2] >= 1 and grad_output.shape[3] >= 1,
        f"grad_output must be [N, C, H, W] with H and W at least 1, got {_shape(grad_output)}",
    )
    _check_dtype(grad_output, "grad_output")
    _check(
        height >= 1 and width >= 1 and _below(SIDE_LIMIT, height, width),
        f"size must be at least 1 and below 2^31, got ({height}, {width})",
    )
    _check_scales((scale_height, scale_width), height, width)
    _check_choice("convention", convention, CONVENTIONS)


def _bicubic_resize_backward(
    grad_output: Tensor,
    height: int,
    width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    scales = (scale_height, scale_width)
    _check_resize_backward(grad_output, height, width, *scales, convention)
    grad = reference.bicubic_resize_backward(grad_output, height, width, *scales, convention)
    return grad.contiguous()


def _bicubic_resize_backward_fake(
    grad_output: Tensor,
    height: int,
    width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    _check_resize_backward(grad_output, height, width, scale_height, scale_width, convention)
    return grad_output.new_empty((grad_output.shape[0], grad_output.shape[1], height, width))


# --- Derivatives ----------------------------------------------------------------------------------


def _srcnn_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    # The features are not kept: the backward runs the forward again, strip by strip or whole.
    ctx.save_for_backward(*inputs[:7])
    ctx.options = inputs[7:]


def _srcnn_formula(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:7])
    x, weight1, bias1, weight2, bias2, weight3, bias3 = ctx.saved_tensors
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    scale, bicubic, padding_mode = ctx.options
    grads = iter(srcnn_backward(grad_output, *tensors, scale, bicubic, padding_mode, wanted))
    return (*(next(grads) if want else None for want in wanted), None, None, None)


def _no_second_derivative(ctx: Any, grads: list[Tensor]) -> None:  # noqa: ARG001
    raise RuntimeError(
        'the fused SRCNN has no second derivative; use backend="reference", which has any'
    )


def _resize_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    # The image (or, in the backward op, the gradient) and the size of the result, then the rest.
    ctx.size = tuple(inputs[0].shape[-2:])
    ctx.options = inputs[3:]


def _resize_formula(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    grad = bicubic_resize_backward(grad_output, *ctx.size, *ctx.options)
    return grad, None, None, None, None, None


def _resize_backward_formula(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
    # Resizing is linear: the transpose of its transpose is itself.
    return bicubic_resize(grad_grad, *ctx.size, *ctx.options), None, None, None, None, None


def _register() -> None:
    library = torch.library
    library.register_fake("srcnn_fused::srcnn_forward", _srcnn_forward_fake)
    library.register_fake("srcnn_fused::srcnn_backward", _srcnn_backward_fake)
    library.register_fake("srcnn_fused::bicubic_resize", _bicubic_resize_fake)
    library.register_fake("srcnn_fused::bicubic_resize_backward", _bicubic_resize_backward_fake)
    # "default" is every device for which csrc/ops.cpp has no kernel.
    library.impl("srcnn_fused::srcnn_backward", "default", _srcnn_backward)
    library.impl("srcnn_fused::bicubic_resize_backward", "default", _bicubic_resize_backward)
    library.register_autograd(
        "srcnn_fused::srcnn_forward", _srcnn_formula, setup_context=_srcnn_setup_context
    )
    library.register_autograd("srcnn_fused::srcnn_backward", _no_second_derivative)
    library.register_autograd(
        "srcnn_fused::bicubic_resize", _resize_formula, setup_context=_resize_setup_context
    )
    library.register_autograd(
        "srcnn_fused::bicubic_resize_backward",
        _resize_backward_formula,
        setup_context=_resize_setup_context,
    )


def _compiled_kernels() -> frozenset[tuple[str, str]]:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return frozenset(
        (op, device)
        for op in ("srcnn_forward", "bicubic_resize")
        for device in ("cpu", "cuda")
        if has_kernel(f"srcnn_fused::{op}", device.upper())
    )


KERNELS: frozenset[tuple[str, str]] = frozenset()  # (op, device type) that the extension serves
if _extension.available():
    _register()
    KERNELS = _compiled_kernels()
