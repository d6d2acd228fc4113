"""The specification: bicubic resizing and SRCNN in plain PyTorch.

Every kernel of the package is tested against this file, so it is written to be read beside the
papers and not to be fast:

    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981 (cubic)
    Dong, Loy, He, Tang, "Image super-resolution using deep convolutional networks", TPAMI 2016,
    arXiv:1501.00092 (SRCNN: equations 1 to 3)

Bicubic has three meanings in this field; per axis, with u the source coordinate of an output:

    convention  a      beyond the edge                     on shrinking    equals
    matlab      -0.5   mirrored, the edge pixel repeated   antialiased     MATLAB's imresize
    pil         -0.5   left out, the rest renormalised     antialiased     Pillow, antialias=True
    torch       -0.75  the edge pixel                      plain           F.interpolate
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from ._checks import (
    check_bicubic_input,
    check_srcnn,
    check_srcnn_scale,
    resize_geometry,
)

__all__ = ["bicubic_resize", "bicubic_resize_backward", "srcnn", "srcnn_backward"]

# Fractional bits of the integer weights with which Pillow resamples 8-bit images.
_PILLOW_PRECISION_BITS = 32 - 8 - 2


def keys_cubic(t: Tensor, a: float) -> Tensor:
    """Keys' cubic convolution kernel, h(t) with h(0) = 1 and h(t) = 0 for |t| >= 2. Elementwise."""
    t = t.abs()
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))


def axis_taps(
    in_length: int, out_length: int, scale: float, convention: str
) -> tuple[Tensor, Tensor]:
    """Which inputs make up each output along one axis, and with what weights.

    Returns indices (int64) and weights (float64), both [out_length, taps], on the CPU.
    """
    a = -0.75 if convention == "torch" else -0.5
    shrinks = scale < 1 and convention != "torch"
    stretch = scale if shrinks else 1.0  # antialiasing: the kernel, as wide as 1 / scale inputs
    support = 2 / stretch
    taps = math.ceil(2 * support)

    u = (torch.arange(out_length, dtype=torch.float64) + 0.5) / scale - 0.5  # [out_length]
    first = torch.floor(u - support) + 1
    j = first[:, None] + torch.arange(taps, dtype=torch.float64)  # [out_length, taps]
    weights = keys_cubic(stretch * (u[:, None] - j), a)
    indices = j.long()

    if convention == "matlab":
        indices = indices.remainder(2 * in_length)
        indices = torch.where(indices >= in_length, 2 * in_length - 1 - indices, indices)
    else:
        if convention == "pil":
            weights = torch.where((indices < 0) | (indices >= in_length), 0.0, weights)
        indices = indices.clamp(0, in_length - 1)
    if convention != "torch":
        weights = weights / weights.sum(dim=1, keepdim=True)
    return indices, weights


def _along(values: Tensor, x: Tensor, dim: int) -> Tensor:
    """Views a vector so that it broadcasts along one dimension of x."""
    shape = [1] * x.dim()
    shape[dim] = -1
    return values.view(shape)


def _resample_axis(x: Tensor, dim: int, indices: Tensor, weights: Tensor) -> Tensor:
    """Sums the weighted taps along one dimension; weights are cast to x's dtype."""
    indices = indices.to(x.device)
    weights = weights.to(x)
    out = x.index_select(dim, indices[:, 0]) * _along(weights[:, 0], x, dim)
    for tap in range(1, indices.shape[1]):
        out = out + x.index_select(dim, indices[:, tap]) * _along(weights[:, tap], x, dim)
    return out


def _resample_axis_backward(
    grad_output: Tensor, dim: int, length: int, indices: Tensor, weights: Tensor
) -> Tensor:
    """The transpose of _resample_axis: every output gives its taps their share back."""
    indices = indices.to(grad_output.device)
    weights = weights.to(grad_output)
    shape = list(grad_output.shape)
    shape[dim] = length
    grad = grad_output.new_zeros(shape)
    for tap in range(indices.shape[1]):
        share = grad_output * _along(weights[:, tap], grad_output, dim)
        grad = grad.index_add(dim, indices[:, tap], share)
    return grad


def _axes(
    in_size: tuple[int, int],
    out_size: tuple[int, int],
    scales: tuple[float, float],
    convention: str,
) -> list[tuple[int, int, int, float]]:
    """The axes to resample: (dim, in_length, out_length, scale). Unchanged ones are left out.

    Their order matters to uint8, which is rounded in between, and in float to rounding only.
    """
    height = (-2, in_size[0], out_size[0], scales[0])
    width = (-1, in_size[1], out_size[1], scales[1])
    if convention == "matlab":
        rows_first = scales[0] <= scales[1]  # imresize: the axis of the smaller scale
    elif convention == "pil":
        # Pillow (since 13; before, the width always): rows first if many more of them go away.
        fewer_rows, fewer_columns = in_size[0] - out_size[0], in_size[1] - out_size[1]
        rows_first = fewer_rows > 0 and fewer_rows > 2 * fewer_columns
    else:
        rows_first = False
    ordered = [height, width] if rows_first else [width, height]
    return [axis for axis in ordered if not (axis[1] == axis[2] and axis[3] == 1)]


def _compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """16-bit floats are summed in float32 and rounded once at the end."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _resize_uint8(
    x: Tensor, axes: Sequence[tuple[int, int, int, float]], convention: str
) -> Tensor:
    """8-bit images as MATLAB and Pillow treat them: rounded and clipped after each axis."""
    for dim, in_length, out_length, scale in axes:
        indices, weights = axis_taps(in_length, out_length, scale, convention)
        if convention == "matlab":
            exact = _resample_axis(x.double(), dim, indices, weights)
            x = torch.floor(exact + 0.5).clamp(0, 255).to(torch.uint8)
        else:
            # Pillow: integer weights rounded half away from zero, sums shifted with rounding.
            one = 1 << _PILLOW_PRECISION_BITS
            whole = torch.trunc(weights * one + torch.where(weights < 0, -0.5, 0.5)).long()
            total = _resample_axis(x.long(), dim, indices, whole) + one // 2
            x = (total >> _PILLOW_PRECISION_BITS).clamp(0, 255).to(torch.uint8)
    return x


def bicubic_resize(
    x: Tensor,  # [N, C, H, W], [C, H, W] or [H, W]
    *,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    convention: str = "matlab",
) -> Tensor:
    """Bicubic resizing of the last two dimensions, in one of the three conventions above.

    Args:
        x: float16, bfloat16, float32, float64 or uint8; images of at least 1x1.
        scale: one factor, or one each for height and width. The output has ceil(scale * length)
            rows and columns in the matlab convention, floor(scale * length) in the others.
        size: (height, width) of the output; give either this or scale.
        convention: "matlab", "pil" or "torch".

    Returns a new tensor of x's dtype. Floats are neither rounded nor clipped, and differentiable;
    uint8 gives uint8 as MATLAB, Pillow (since 13) or F.interpolate rounds it.

    Raises:
        TypeError, ValueError: an argument of the wrong type, dtype, rank or value.

    Example:
        low = bicubic_resize(image, scale=1 / 3)
        high = bicubic_resize(low, size=(255, 255), convention="pil")
    """
    check_bicubic_input(x, convention)
    in_height, in_width = x.shape[-2:]
    out_height, out_width, *scales = resize_geometry(in_height, in_width, scale, size, convention)
    return resize_to(x, out_height, out_width, scales[0], scales[1], convention)


def resize_to(
    x: Tensor,
    out_height: int,
    out_width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    """bicubic_resize with size and scale both settled; the op of the same name does this."""
    in_size = (x.shape[-2], x.shape[-1])
    scales = (scale_height, scale_width)
    axes = _axes(in_size, (out_height, out_width), scales, convention)
    if not axes:
        return x.clone()
    if x.dtype == torch.uint8 and convention == "torch":
        # By definition what PyTorch gives; its 8-bit arithmetic differs with the channel count, and
        # is the CPU's alone.
        batched = x.reshape((1,) * (4 - x.dim()) + tuple(x.shape)).cpu()
        size = [out_height, out_width]
        out: Tensor = torch.ops.aten.upsample_bicubic2d(batched, size, False, *scales)
        return out.reshape((*x.shape[:-2], out_height, out_width)).to(x.device)
    if x.dtype == torch.uint8:
        return _resize_uint8(x, axes, convention)
    out = x.to(_compute_dtype(x.dtype))
    for dim, in_length, out_length, scale in axes:
        indices, weights = axis_taps(in_length, out_length, scale, convention)
        out = _resample_axis(out, dim, indices, weights)
    return out.to(x.dtype)


def bicubic_resize_backward(
    grad_output: Tensor,  # [..., out_height, out_width]
    height: int,
    width: int,
    scale_height: float,
    scale_width: float,
    convention: str,
) -> Tensor:
    """Gradient of bicubic_resize for an input of height x width: its transpose, as it is linear.

    Returns [..., height, width] in grad_output's dtype.
    """
    out_size = (grad_output.shape[-2], grad_output.shape[-1])
    axes = _axes((height, width), out_size, (scale_height, scale_width), convention)
    if not axes:
        return grad_output.clone()
    grad = grad_output.to(_compute_dtype(grad_output.dtype))
    for dim, in_length, out_length, scale in reversed(axes):
        indices, weights = axis_taps(in_length, out_length, scale, convention)
        grad = _resample_axis_backward(grad, dim, in_length, indices, weights)
    return grad.to(grad_output.dtype)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor, padding_mode: str) -> Tensor:
    """Convolution (correlation, as in the papers' code) to the input's own size."""
    halo = weight.shape[-1] // 2
    if padding_mode == "zeros":
        return F.conv2d(x, weight, bias, padding=halo)
    return F.conv2d(F.pad(x, (halo, halo, halo, halo), mode="replicate"), weight, bias)


def _layers(
    y: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    weight3: Tensor,
    bias3: Tensor,
    padding_mode: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """F1, F2 and F of the enlarged image: equations 1, 2 and 3."""
    features1 = _convolve(y, weight1, bias1, padding_mode).relu()  # [N, n1, H, W]
    features2 = _convolve(features1, weight2, bias2, padding_mode).relu()  # [N, n2, H, W]
    return features1, features2, _convolve(features2, weight3, bias3, padding_mode)


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
) -> Tensor:
    """SRCNN: bicubic enlargement, then patch extraction, non-linear mapping and reconstruction.

        y  = bicubic(x, scale)
        F1 = max(0, W1 * y  + B1)         equation 1
        F2 = max(0, W2 * F1 + B2)         equation 2
        F  =        W3 * F2 + B3          equation 3

    Args:
        x: float16, bfloat16, float32 or float64, values about [0, 1]; everything shares its dtype.
        deeper: weight4, bias4, ... of networks with more mappings (section 4.3.3): equation 2 holds
            for every layer between the first and the last, which is then [c, n, f, f].
        scale: positive integer; None (or 1) where x is enlarged already.
        bicubic: convention of the enlargement, "matlab", "pil" or "torch".
        padding_mode: what lies beyond the image at every layer: "zeros", or "replicate" (the edge
            pixel, as in the papers' test code).

    Returns [N, c, scale * h, scale * w]. Differentiable, any number of times.

    Raises:
        TypeError, ValueError: an argument of the wrong type, dtype, device, shape or value.
    """
    factor = check_srcnn_scale(scale)
    three = (weight1, bias1, weight2, bias2, weight3, bias3)
    check_srcnn(x, *three, *deeper, bicubic=bicubic, padding_mode=padding_mode)
    y = x if factor == 1 else bicubic_resize(x, scale=factor, convention=bicubic)
    if deeper:
        return _deeper_layers(y, (*three, *deeper), padding_mode)
    return _layers(y, *three, padding_mode)[2]


def _deeper_layers(y: Tensor, parameters: Sequence[Tensor], padding_mode: str) -> Tensor:
    """The last layer's output, from weight1, bias1, weight2, ... of any number of layers."""
    features = y
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        features = _convolve(features, weight, bias, padding_mode).relu()
    return _convolve(features, parameters[-2], parameters[-1], padding_mode)


def _unpad_replicate(grad: Tensor, halo: int) -> Tensor:
    """Transpose of replicate padding: the margin's gradients fall to the edge pixels."""
    for dim in (-2, -1):
        length = grad.shape[dim] - 2 * halo
        inside = grad.narrow(dim, halo, length).clone()
        inside.narrow(dim, 0, 1).add_(grad.narrow(dim, 0, halo).sum(dim, keepdim=True))
        after = grad.narrow(dim, halo + length, halo).sum(dim, keepdim=True)
        inside.narrow(dim, length - 1, 1).add_(after)
        grad = inside
    return grad


def _convolve_backward(
    grad_output: Tensor, x: Tensor, weight: Tensor, padding_mode: str, output_mask: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of _convolve for x, weight and bias, each only where output_mask wants it."""
    halo = weight.shape[-1] // 2
    padding = 0 if padding_mode == "replicate" else halo
    if padding_mode == "replicate":
        x = F.pad(x, (halo, halo, halo, halo), mode="replicate")
    grad_x = grad_weight = grad_bias = None
    if output_mask[0]:
        grad_x = conv2d_input(  # type: ignore[no-untyped-call]
            x.shape, weight, grad_output, padding=padding
        )
        if padding_mode == "replicate":
            grad_x = _unpad_replicate(grad_x, halo)
    if output_mask[1]:
        grad_weight = conv2d_weight(  # type: ignore[no-untyped-call]
            x, weight.shape, grad_output, padding=padding
        )
    if output_mask[2]:
        grad_bias = grad_output.sum((0, 2, 3))
    return grad_x, grad_weight, grad_bias


def _relu_backward(grad_output: Tensor, output: Tensor) -> Tensor:
    """Nothing passes where the ReLU gave 0, at 0 itself included; NaN lets everything pass."""
    return torch.where(output <= 0, 0.0, grad_output)


def srcnn_backward(
    grad_output: Tensor,  # [N, c, scale * h, scale * w]
    x: Tensor,  # [N, c, h, w]
    weight1: Tensor,  # [n1, c, f1, f1]
    bias1: Tensor,  # [n1]
    weight2: Tensor,  # [n2, n1, f2, f2]
    bias2: Tensor,  # [n2]
    weight3: Tensor,  # [c, n2, f3, f3]
    bias3: Tensor,  # [c]
    *,
    scale: int | None,
    bicubic: str,
    padding_mode: str,
    output_mask: Sequence[bool] = (True,) * 7,
) -> list[Tensor]:
    """Gradients of srcnn, layer by layer from the back; the forward is run again for its features.

    Returns the gradients that output_mask wants, and only those, in the order x, weight1, bias1,
    weight2, bias2, weight3, bias3.
    """
    factor = check_srcnn_scale(scale)
    y = x if factor == 1 else bicubic_resize(x, scale=factor, convention=bicubic)
    layers = _layers(y, weight1, bias1, weight2, bias2, weight3, bias3, padding_mode)
    features1, features2, _ = layers
    want_layer1 = any(output_mask[:3])
    want_layer2 = any(output_mask[:5])

    grads: list[Tensor | None] = [None] * 7
    grad, grads[5], grads[6] = _convolve_backward(
        grad_output, features2, weight3, padding_mode, (want_layer2, *output_mask[5:])
    )
    if grad is not None:
        grad, grads[3], grads[4] = _convolve_backward(
            _relu_backward(grad, features2),
            features1,
            weight2,
            padding_mode,
            (want_layer1, *output_mask[3:5]),
        )
    if grad is not None:
        grads[0], grads[1], grads[2] = _convolve_backward(
            _relu_backward(grad, features1),
            y,
            weight1,
            padding_mode,
            output_mask[:3],
        )
    if grads[0] is not None and factor != 1:
        height, width = x.shape[-2:]
        grads[0] = bicubic_resize_backward(
            grads[0], height, width, float(factor), float(factor), bicubic
        )
    return [grad for grad in grads if grad is not None]
