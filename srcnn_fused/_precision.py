"""PyTorch's switch for convolutions in TF32, which the fused CUDA kernels follow as nn.Conv2d does.

Two interfaces set it: torch.backends.cudnn.allow_tf32, and torch.backends.cudnn.conv.fp32_precision
("tf32" or "ieee", or what torch.backends.cudnn and torch.backends say where it says "none"). Once
the second was used, reading the first may raise; reading the second is always right, whichever set
it, and it is what PyTorch's own convolutions ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ._compiling import constant_in_a_graph

_conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]


# torch.compile can neither trace the question nor guard the answer, so a compiled graph keeps it.
@constant_in_a_graph
def convolutions_allow_tf32() -> bool:
    """Whether PyTorch's convolutions of float32 CUDA tensors may round their factors to TF32."""
    return bool(_conv.fp32_precision == "tf32")


def allow_tf32_for(x: Tensor) -> bool:
    """The op argument allow_tf32 for this input: of no meaning but to float32 on CUDA."""
    return x.device.type == "cuda" and x.dtype == torch.float32 and convolutions_allow_tf32()


@contextmanager
def convolutions_for(x: Tensor, *, allow_tf32: bool) -> Iterator[None]:
    """PyTorch's convolutions of tensors like x with or without TF32, where that means anything.

    The switch is touched only where it says otherwise: it belongs to the process, and another
    thread's convolutions see the change too.
    """
    matters = x.device.type == "cuda" and x.dtype == torch.float32
    if not matters or allow_tf32 == convolutions_allow_tf32():
        yield
        return
    before = _conv.fp32_precision
    _conv.fp32_precision = "tf32" if allow_tf32 else "ieee"
    try:
        yield
    finally:
        _conv.fp32_precision = before
