"""The two operations as functions: the fused kernel where there is one, else the reference.

Each is the twin of the function of the same name in `srcnn_fused.reference`, which defines it.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import _extension, _gpu, ops, reference
from ._checks import (
    check_bicubic_input,
    check_choice,
    check_floating,
    check_srcnn,
    check_srcnn_scale,
    resize_geometry,
)
from ._compiling import constant_in_a_graph
from ._op_checks import KERNEL_DTYPES
from ._op_registration import autocast_dtype
from ._precision import allow_tf32_for

__all__ = ["bicubic_resize", "srcnn"]

BACKENDS = ("auto", "fused", "reference")

# The networks that have a fused kernel (csrc/ops.cpp knows the same ones).
FUSED_WIDTHS = (64, 32)
FUSED_KERNEL_SIZES = ((9, 1, 5), (9, 3, 5), (9, 5, 5))
FUSED_CHANNELS = (1, 3)

_OUR_FRAMES = (__name__.split(".")[0], "torch")

_warned: set[str] = set()


def _why_no_kernel(op: str, x: Tensor) -> str | None:
    """Why the op cannot run on this tensor's device and dtype, or None where it can."""
    if not _extension.available():
        return _extension.why_unavailable()
    device = x.device.type
    if (op, device) not in ops.KERNELS:
        if device != "cuda":
            return f"this build has no fused kernel for {device} tensors"
        return (
            "this build has no CUDA kernels; reinstall with SRCNN_FUSED_CUDA=1, and CUDA_HOME "
            "naming a CUDA toolkit where nvcc is not on PATH"
        )
    if x.dtype not in KERNEL_DTYPES[op, device]:
        return f"there is no fused kernel for {x.dtype} on {device}"
    return _gpu.why_not_served(x.device.index) if device == "cuda" else None


def _why_not_transformed(*tensors: Tensor) -> str | None:
    """Why the ops cannot take these tensors as they are, or None: they have a backward only.

    Forward-mode tangents would be lost in them without a word.
    """
    unpack: Any = forward_ad.unpack_dual  # untyped in torch
    if any(unpack(tensor).tangent is not None for tensor in tensors):
        return "the fused kernels have no forward-mode derivative"
    if torch.compiler.is_compiling():
        transformed = _within_a_transform()
    else:
        is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
        transformed = any(is_wrapped(tensor) for tensor in tensors)
    if transformed:
        return "the fused kernels cannot run under torch.func (jvp, grad, vmap, ...)"
    return None


# torch.compile cannot trace the question of a tensor. It does enter the transforms while it traces,
# and guards on them, so the answer holds for the graph. It is a wider one than that of the tensors:
# compiled, any transform around the call counts, also one that has wrapped none of them.
@constant_in_a_graph
def _within_a_transform() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None


def why_not_fused(x: Tensor, *weights: Tensor) -> str | None:
    """Why srcnn would not run fused on these (checked) arguments, or None where it would.

    weights: weight1, weight2, ... without the biases.
    """
    reason = _why_no_kernel("srcnn_forward", x)
    if reason is not None:
        return reason
    if len(weights) != 3:
        return f"the fused kernels have three layers, this network has {len(weights)}"
    widths = tuple(weight.shape[0] for weight in weights[:-1])
    kernel_sizes = tuple(weight.shape[-1] for weight in weights)
    channels = weights[0].shape[1]
    if widths != FUSED_WIDTHS:
        return f"the fused kernels have widths {FUSED_WIDTHS}, this network has {widths}"
    if kernel_sizes not in FUSED_KERNEL_SIZES:
        known = ", ".join("-".join(map(str, sizes)) for sizes in FUSED_KERNEL_SIZES)
        ours = "-".join(map(str, kernel_sizes))
        return f"the fused kernels have kernel sizes {known}, this network has {ours}"
    if channels not in FUSED_CHANNELS:
        return f"the fused kernels take 1 or 3 channels, this network has {channels}"
    return None


def _callers_level() -> int:
    """The stacklevel, for a warning of the function that asks, of the line that called us.

    Between the two lie frames of this package and, where a module was called, of torch.
    """
    level = 1
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _OUR_FRAMES:
        frame = frame.f_back
        level += 1
    return level


def _use_fused(backend: str, reason: str | None, *, quiet: bool = False) -> bool:
    """Settles the backend. Says once, per reason, that "auto" runs without the fused kernel."""
    if backend == "reference":
        return False
    if reason is None:
        return True
    if backend == "fused":
        raise RuntimeError(f'backend="fused" cannot run: {reason}')
    if not quiet and reason not in _warned and not torch.compiler.is_compiling():
        _warned.add(reason)
        warnings.warn(
            f'running the slower PyTorch reference: {reason} (backend="reference" says nothing)',
            stacklevel=_callers_level(),
        )
    return False


def srcnn(
    x: Tensor,  # [N, c, h, w]
    weight1: Tensor,  # [n1, c, f1, f1]
    bias1: Tensor,  # [n1]
    weight2: Tensor,  # [n2, n1, f2, f2]
    bias2: Tensor,  # [n2]
    weight3: Tensor,  # [c, n2, f3, f3]
    bias3: Tensor,  # [c]
    *deeper: Tensor,
    scale: int | None = None,
    bicubic: str = "matlab",
    padding_mode: str = "zeros",
    backend: str = "auto",
) -> Tensor:
    """SRCNN as one operation: bicubic enlargement, three convolutions (arXiv:1501.00092, eq. 1-3).

    Args:
        x: float16, bfloat16, float32 or float64, values about [0, 1]; everything shares its dtype.
            Any strides.
        deeper: weight4, bias4, ... of networks with more than three layers (section 4.3.3), the
            last of which then gives the c channels. These run on the reference.
        scale: positive integer; None (or 1) where x is enlarged already.
        bicubic: convention of the enlargement, "matlab", "pil" or "torch".
        padding_mode: what lies beyond the image at every layer, "zeros" or "replicate".
        backend: "auto" takes the fused kernel where there is one (float32, on CUDA also float16 and
            bfloat16; widths (64, 32), kernels 9-1-5, 9-3-5 and 9-5-5, 1 or 3 channels) and
            otherwise the reference, with one warning per reason; "fused" raises instead;
            "reference" always takes the reference.

    Under autocast on CUDA everything but float64 is cast to autocast's dtype, as for nn.Conv2d; on
    the CPU everything is computed in the widest dtype among the tensors. The gradients have the
    dtypes that the tensors came in.

    float32 on CUDA is computed in TF32 where PyTorch's own convolutions may be
    (torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.allow_tf32). A compiled or
    exported graph keeps what these said when it was made.

    Returns [N, c, scale * h, scale * w]. Differentiable in every tensor; the fused kernel once and
    backwards, the reference any number of times, forwards (jvp) and under torch.func too.

    Raises:
        TypeError, ValueError: an argument of the wrong type, dtype, device, shape or value.
        RuntimeError: backend="fused" where there is no fused kernel; the message says why.

    Example:
        model = FusedSRCNN.from_pretrained("9-1-5-x3")
        weights = [p for conv in model.convs for p in conv.parameters()]
        y = srcnn(x, *weights, scale=3)
    """
    check_choice("backend", backend, BACKENDS)
    factor = check_srcnn_scale(scale)
    three = (x, weight1, bias1, weight2, bias2, weight3, bias3)
    tensors = (*three, *deeper)
    if _autocast_is_on(x):
        check_floating(*tensors)
        dtype = autocast_dtype(x.device.type, *tensors)
        with torch.autocast(x.device.type, enabled=False):
            return srcnn(
                *(tensor.to(dtype) for tensor in tensors),
                scale=scale,
                bicubic=bicubic,
                padding_mode=padding_mode,
                backend=backend,
            )
    check_srcnn(*tensors, bicubic=bicubic, padding_mode=padding_mode)
    reason = None
    if backend != "reference":
        reason = why_not_fused(x, *tensors[1::2]) or _why_not_transformed(*tensors)
    if _use_fused(backend, reason):
        return ops.srcnn_forward(*three, factor, bicubic, padding_mode, allow_tf32_for(x))
    return reference.srcnn(*tensors, scale=factor, bicubic=bicubic, padding_mode=padding_mode)


def _autocast_is_on(x: Tensor) -> bool:
    return (
        isinstance(x, Tensor)
        and x.device.type in ("cpu", "cuda")
        and torch.is_autocast_enabled(x.device.type)
    )


def bicubic_resize(
    x: Tensor,  # [N, C, H, W], [C, H, W] or [H, W]
    *,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    convention: str = "matlab",
    backend: str = "auto",
) -> Tensor:
    """Bicubic resizing of the last two dimensions, as MATLAB, Pillow or PyTorch does it.

    Args:
        x: float16, bfloat16, float32, float64 or uint8; images of at least 1x1. Any strides.
        scale: one factor, or one each for height and width. The output has ceil(scale * length)
            rows and columns in the matlab convention, floor(scale * length) in the others.
        size: (height, width) of the output; give either this or scale.
        convention: "matlab" (imresize: mirrored edges, antialiased when shrinking), "pil" (Pillow:
            renormalised at the edges, antialiased) or "torch" (F.interpolate: a = -0.75, plain).
        backend: "auto" takes the fused kernel where there is one (float32, on CUDA also float16 and
            bfloat16) and otherwise the reference; "fused" raises instead; "reference" always takes
            the reference.

    Returns a new tensor of x's dtype. Floats are neither rounded nor clipped, and differentiable;
    uint8 gives uint8, rounded as the convention's own library rounds.

    Raises:
        TypeError, ValueError: an argument of the wrong type, dtype, rank or value.
        RuntimeError: backend="fused" where there is no fused kernel; the message says why.

    Example:
        low = bicubic_resize(image, scale=1 / 3)
    """
    check_choice("backend", backend, BACKENDS)
    check_bicubic_input(x, convention)
    height, width = x.shape[-2:]
    geometry = resize_geometry(height, width, scale, size, convention)
    reason = None
    if backend != "reference":
        reason = _why_no_kernel("bicubic_resize", x) or _why_not_transformed(x)
    # The reference is the only path that 8-bit images have, and a good one: nothing to warn about.
    if _use_fused(backend, reason, quiet=x.dtype == torch.uint8):
        batched = x.reshape((1,) * (4 - x.dim()) + tuple(x.shape))
        out = ops.bicubic_resize(batched, *geometry, convention)
        return out.reshape(tuple(x.shape[:-2]) + tuple(out.shape[-2:]))
    return reference.resize_to(x, *geometry, convention)
