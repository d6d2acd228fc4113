"""The compiled ops, torch.ops.srcnn_fused.*, as typed functions.

csrc/ops.cpp declares them and has the CPU's with csrc/ops_backward.cpp, csrc/ops_cuda.cpp has the
GPU's; what neither has runs through the reference. Fake kernels and derivatives are in
_op_registration.py. Importing this module registers it all; without the extension nothing is
registered, and a call raises AttributeError.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _extension, _op_registration
from ._op_checks import KERNEL_DTYPES

__all__ = [
    "bicubic_resize",
    "bicubic_resize_backward",
    "has_fused_backward",
    "srcnn_backward",
    "srcnn_forward",
]


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
    allow_tf32: bool = False,
) -> Tensor:
    """srcnn_fused::srcnn_forward: [N, c, scale * h, scale * w]; scale 1 enlarges nothing.

    float32 and bfloat16, on CUDA also float16. On the CPU bfloat16 is computed in float32 and
    rounded once. allow_tf32: factors may be rounded to TF32, which
    means something to float32 on CUDA only.
    """
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    out: Tensor = torch.ops.srcnn_fused.srcnn_forward(
        *tensors, scale, bicubic, padding_mode, allow_tf32
    )
    return out


def srcnn_backward(
    grad_output: Tensor,  # [N, c, scale * h, scale * w]
    x: Tensor,  # [N, c, h, w], and so on as above
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
    allow_tf32: bool = False,
) -> list[Tensor]:
    """srcnn_fused::srcnn_backward: the gradients that output_mask wants, only those, in order.

    float32, on CUDA also float16 and bfloat16. Products and sums are float32's, whatever allow_tf32
    says, which the reference heeds where there is no kernel.
    """
    tensors = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    grads: list[Tensor] = torch.ops.srcnn_fused.srcnn_backward(
        grad_output, *tensors, scale, bicubic, padding_mode, list(output_mask), allow_tf32
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
    """srcnn_fused::bicubic_resize: [N, C, out_height, out_width].

    float32, on CUDA also float16 and bfloat16, summed in float32.
    """
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


def _has_kernel(op: str, device_type: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"srcnn_fused::{op}", device_type.upper())


def has_fused_backward(device_type: str) -> bool:
    """Whether srcnn_backward has a kernel there; elsewhere it runs through the reference."""
    return _extension.available() and _has_kernel("srcnn_backward", device_type)


def _compiled_kernels() -> frozenset[tuple[str, str]]:
    return frozenset((op, device) for op, device in KERNEL_DTYPES if _has_kernel(op, device))


KERNELS: frozenset[tuple[str, str]] = frozenset()  # (op, device type) that the extension serves
if _extension.available():
    _op_registration.register()
    KERNELS = _compiled_kernels()
