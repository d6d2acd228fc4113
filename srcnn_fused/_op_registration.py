"""What torch wants of an op besides its kernels, for each op that csrc/ops.cpp declares.

A fake kernel, which is the real one's argument checks and the shape of its result (so that
torch.compile and torch.export can trace through); an autograd formula; for the backward ops an
implementation by the reference, for every device that has no kernel; and for srcnn_forward the
casts of autocast on CUDA.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _precision, reference
from ._op_checks import (
    BackwardArguments,
    ForwardArguments,
    ResizeArguments,
    check_backward,
    check_forward,
    check_resize,
    check_resize_backward,
    new_output,
)

_OPS = torch.ops.srcnn_fused

# --- Fake kernels ---------------------------------------------------------------------------------


def _srcnn_forward_fake(*given: Any) -> Tensor:
    arguments = ForwardArguments(*given)
    check_forward(arguments)
    return new_output(arguments.x, arguments.output_shape)


def _srcnn_backward_fake(*given: Any) -> list[Tensor]:
    arguments = BackwardArguments(*given)
    check_backward(arguments)
    wanted = zip(arguments.forward.tensors, arguments.output_mask, strict=True)
    return [tensor.new_empty(tensor.shape) for tensor, want in wanted if want]


def _bicubic_resize_fake(*given: Any) -> Tensor:
    arguments = ResizeArguments(*given)
    check_resize(arguments)
    return new_output(arguments.x, arguments.output_shape)


def _bicubic_resize_backward_fake(*given: Any) -> Tensor:
    arguments = ResizeArguments(*given)
    check_resize_backward(arguments)
    return arguments.x.new_empty(arguments.output_shape)


# --- The backward ops, through the reference ------------------------------------------------------


def _srcnn_backward(*given: Any) -> list[Tensor]:
    arguments = BackwardArguments(*given)
    check_backward(arguments)
    forward = arguments.forward
    # A loss may call backward inside autocast, which must not reach these convolutions.
    with (
        torch.autocast(forward.x.device.type, enabled=False),
        _precision.convolutions_for(forward.x, allow_tf32=arguments.allow_tf32),
    ):
        return reference.srcnn_backward(
            arguments.grad_output,
            *forward.tensors,
            scale=forward.scale,
            bicubic=forward.bicubic,
            padding_mode=forward.padding_mode,
            output_mask=arguments.output_mask,
        )


def _bicubic_resize_backward(*given: Any) -> Tensor:
    arguments = ResizeArguments(*given)
    check_resize_backward(arguments)
    return reference.bicubic_resize_backward(*arguments).contiguous()


# --- Derivatives ----------------------------------------------------------------------------------


def _srcnn_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    # The features are not kept: the backward runs the forward again, strip by strip or whole.
    arguments = ForwardArguments(*inputs)
    ctx.save_for_backward(*arguments.tensors)
    ctx.options = (arguments.scale, arguments.bicubic, arguments.padding_mode)
    ctx.allow_tf32 = arguments.allow_tf32


def _srcnn_formula(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    # The older vmap, of torch.autograd.grad(is_grads_batched=True), knows no rules for custom ops.
    if torch._C._functorch.is_legacy_batchedtensor(grad_output):
        raise RuntimeError(
            "the fused SRCNN cannot take several gradients at once (is_grads_batched=True, "
            'vectorize=True); ask for one after the other, or use backend="reference"'
        )
    wanted = list(ctx.needs_input_grad[:7])
    grads = iter(
        _OPS.srcnn_backward(grad_output, *ctx.saved_tensors, *ctx.options, wanted, ctx.allow_tf32)
    )
    return (*(next(grads) if want else None for want in wanted), None, None, None, None)


def _srcnn_backward_batched(info: Any, in_dims: tuple[Any, ...], *given: Any) -> Any:
    # Many gradients of one forward, torch.func.vmap over torch.autograd.grad: one after the other.
    def arguments(i: int) -> list[Any]:
        pairs = zip(given, in_dims, strict=True)
        return [one.select(dim, i) if isinstance(dim, int) else one for one, dim in pairs]

    if info.batch_size == 0:
        pairs = zip(given, in_dims, strict=True)
        shapes = [
            one.new_empty(one.shape[:dim] + one.shape[dim + 1 :]) if isinstance(dim, int) else one
            for one, dim in pairs
        ]
        return [grad.new_empty((0, *grad.shape)) for grad in _srcnn_backward_fake(*shapes)], 0
    each = [_OPS.srcnn_backward(*arguments(i)) for i in range(info.batch_size)]
    return [torch.stack(grads) for grads in zip(*each, strict=True)], 0


def _no_second_derivative(ctx: Any, grads: list[Tensor]) -> None:  # noqa: ARG001
    raise RuntimeError(
        'the fused SRCNN has no second derivative; use backend="reference", which has any'
    )


def _resize_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    # The image (or, in the backward op, the gradient) and the size of the result, then the rest.
    ctx.size = tuple(inputs[0].shape[-2:])
    ctx.options = inputs[3:]


def _resize_formula(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    grad = _OPS.bicubic_resize_backward(grad_output, *ctx.size, *ctx.options)
    return grad, None, None, None, None, None


def _resize_backward_formula(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
    # Resizing is linear: the transpose of its transpose is itself.
    grad = _OPS.bicubic_resize(grad_grad, *ctx.size, *ctx.options)
    return grad, None, None, None, None, None


# --- Autocast -------------------------------------------------------------------------------------


def autocast_dtype(device_type: str, *tensors: Tensor) -> torch.dtype:
    """The dtype in which srcnn computes under autocast.

    On CUDA that of autocast, as for nn.Conv2d, which leaves float64 alone. On the CPU, where the
    fused kernels compute in float32 even on bfloat16, the widest among the tensors: earlier layers
    hand over 16-bit images while the weights stay float32, and rounding them would gain nothing.
    """
    widest = tensors[0].dtype
    for tensor in tensors[1:]:
        widest = torch.promote_types(widest, tensor.dtype)
    if device_type == "cuda" and widest != torch.float64:
        return torch.get_autocast_dtype(device_type)
    return widest


def _srcnn_forward_autocast(*given: Any) -> Tensor:
    # Follows autocast's dtype; torch.library.register_autocast wants one settled here and now.
    arguments = ForwardArguments(*given)
    dtype = autocast_dtype("cuda", *arguments.tensors)
    with torch.autocast("cuda", enabled=False):
        out: Tensor = _OPS.srcnn_forward(
            *(tensor.to(dtype) for tensor in arguments.tensors), *arguments[7:]
        )
    return out


_library: Any = torch.library.Library("srcnn_fused", "IMPL")  # type: ignore[no-untyped-call]


def register() -> None:
    """Once, after the extension has declared the ops."""
    library = torch.library
    library.register_fake("srcnn_fused::srcnn_forward", _srcnn_forward_fake)
    library.register_fake("srcnn_fused::srcnn_backward", _srcnn_backward_fake)
    library.register_fake("srcnn_fused::bicubic_resize", _bicubic_resize_fake)
    library.register_fake("srcnn_fused::bicubic_resize_backward", _bicubic_resize_backward_fake)
    # "default" is every device that has no compiled kernel in csrc/ops*.cpp.
    library.impl("srcnn_fused::srcnn_backward", "default", _srcnn_backward)
    library.impl("srcnn_fused::bicubic_resize_backward", "default", _bicubic_resize_backward)
    library.register_autograd(
        "srcnn_fused::srcnn_forward", _srcnn_formula, setup_context=_srcnn_setup_context
    )
    library.register_autograd("srcnn_fused::srcnn_backward", _no_second_derivative)
    library.register_vmap("srcnn_fused::srcnn_backward", _srcnn_backward_batched)
    library.register_autograd(
        "srcnn_fused::bicubic_resize", _resize_formula, setup_context=_resize_setup_context
    )
    library.register_autograd(
        "srcnn_fused::bicubic_resize_backward",
        _resize_backward_formula,
        setup_context=_resize_setup_context,
    )
    _library.impl("srcnn_forward", _srcnn_forward_autocast, "AutocastCUDA")
