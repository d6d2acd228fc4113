"""FusedSRCNN, the drop-in for the usual module of three Conv2d."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from . import functional, pretrained
from ._checks import CONVENTIONS, PADDING_MODES, check_choice, check_srcnn_scale

__all__ = ["FusedSRCNN"]


def _positive_ints(
    name: str, values: Sequence[int], count: int, *, or_more: bool = False
) -> tuple[int, ...]:
    given = tuple(values) if isinstance(values, (tuple, list)) else None
    if (
        given is None
        or len(given) < count
        or (len(given) > count and not or_more)
        or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in given)
    ):
        number = f"{count} or more" if or_more else count
        raise ValueError(f"{name} must be {number} positive integers, got {values!r}")
    return given


class FusedSRCNN(nn.Module):
    """SRCNN (Dong et al., TPAMI 2016, arXiv:1501.00092) that runs as one fused operation.

    `conv1`, `conv2` and `conv3` are real `nn.Conv2d`, so that the state_dict of any SRCNN of three
    convolutions loads unchanged. Their forward is not called (nor are hooks on them): their weights
    go to `srcnn_fused.functional.srcnn`. Networks with more mappings (section 4.3.3 of the paper)
    have `conv4` and so on, and run on the reference.

    Args:
        num_channels: channels of the image, in and out; 1 (luma) or 3 have fused kernels.
        kernel_sizes: f1, f2, f3 (or more), odd; 9-1-5, 9-3-5 and 9-5-5 have fused kernels.
        widths: n1, n2 (or more), the feature maps of every layer but the last; fused with (64, 32).
        scale: None where the input is enlarged already, or the positive integer by which the input
            is enlarged inside.
        bicubic: convention of that enlargement, "matlab", "pil" or "torch".
        padding_mode: "zeros" (as nn.Conv2d) or "replicate" (as the papers' test code).
        backend: "auto", "fused" or "reference"; see `srcnn_fused.functional.srcnn`.
        device, dtype: of the parameters, as for any module.

    Input [N, num_channels, h, w] of the parameters' dtype, output [N, num_channels, s*h, s*w] with
    s the scale or 1. Networks without a fused kernel run on the reference and say so once.

    Raises:
        TypeError, ValueError: an argument of the wrong type or value.

    Example:
        model = FusedSRCNN.from_pretrained("9-1-5-x3")
        with torch.inference_mode():
            high = model(low)  # low: [1, 1, h, w] luma in [0, 1]
    """

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d

    def __init__(
        self,
        num_channels: int = 1,
        *,
        kernel_sizes: Sequence[int] = (9, 5, 5),
        widths: Sequence[int] = (64, 32),
        scale: int | None = None,
        bicubic: str = "matlab",
        padding_mode: str = "zeros",
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if isinstance(num_channels, bool) or not isinstance(num_channels, int) or num_channels < 1:
            raise ValueError(f"num_channels must be a positive integer, got {num_channels!r}")
        self.num_channels = num_channels
        self.kernel_sizes = _positive_ints("kernel_sizes", kernel_sizes, 3, or_more=True)
        if any(size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes must be odd, got {kernel_sizes!r}")
        self.widths = _positive_ints("widths", widths, len(self.kernel_sizes) - 1)
        check_srcnn_scale(scale)
        check_choice("bicubic", bicubic, CONVENTIONS)
        check_choice("padding_mode", padding_mode, PADDING_MODES)
        check_choice("backend", backend, functional.BACKENDS)
        self.scale = scale
        self.bicubic = bicubic
        self.padding_mode = padding_mode
        self.backend = backend

        def conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
            return nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                padding_mode=padding_mode,  # type: ignore[arg-type]  # checked above
                device=device,
                dtype=dtype,
            )

        counts = (self.num_channels, *self.widths, self.num_channels)
        for number, size in enumerate(self.kernel_sizes, 1):
            self.add_module(f"conv{number}", conv(counts[number - 1], counts[number], size))

    @property
    def convs(self) -> tuple[nn.Conv2d, ...]:
        """conv1, conv2, conv3, and those that a deeper network has behind them."""
        return tuple(getattr(self, f"conv{n}") for n in range(1, len(self.kernel_sizes) + 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, c, h, w] -> [N, c, s*h, s*w]."""
        parameters = [p for conv in self.convs for p in (conv.weight, conv.bias)]
        return functional.srcnn(
            x,
            *cast("list[Tensor]", parameters),  # Conv2d's bias is optional, these have one
            scale=self.scale,
            bicubic=self.bicubic,
            padding_mode=self.padding_mode,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The arguments that the convolutions do not show."""
        return (
            f"scale={self.scale}, bicubic={self.bicubic!r}, padding_mode={self.padding_mode!r}, "
            f"backend={self.backend!r}"
        )

    @property
    def config(self) -> dict[str, Any]:
        """What the constructor needs to build this network again, as a weights file keeps it."""
        return {
            "num_channels": self.num_channels,
            "kernel_sizes": list(self.kernel_sizes),
            "widths": list(self.widths),
            "scale": self.scale,
            "bicubic": self.bicubic,
            "padding_mode": self.padding_mode,
        }

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **overrides: Any) -> FusedSRCNN:
        """Loads a shipped model ("9-1-5-x3"; see list_pretrained), a .safetensors or a .pth file.

        A file without our metadata has its network and channels read off the tensor shapes, and
        takes the constructor's defaults for the rest; a .pth is read with weights_only=True.

        Args:
            overrides: arguments of the constructor that go before the file's own. num_channels,
                kernel_sizes and widths must agree with the weights.

        Raises:
            FileNotFoundError: neither a shipped model nor a file.
            ValueError: not a readable model file, not the weights of an SRCNN, NaN or infinite
                weights, or an override that contradicts the weights.
        """
        weights, config = pretrained.load(name_or_path)
        for key in ("num_channels", "kernel_sizes", "widths"):
            wanted = overrides.get(key, config[key])
            found = config[key]
            if (tuple(wanted) if isinstance(wanted, (tuple, list)) else wanted) != (
                tuple(found) if isinstance(found, (tuple, list)) else found
            ):
                raise ValueError(f"{key} of {os.fspath(name_or_path)!r} is {found}, not {wanted}")
        model = cls(**{**config, **overrides})
        model.load_state_dict(weights)
        return model

    def save_pretrained(
        self, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Writes weights and configuration to one .safetensors file, replacing it in one step.

        Args:
            metadata: anything JSON can hold, kept beside the configuration (see read_metadata).

        Raises:
            ValueError: NaN or infinite weights, or a path that does not end in .safetensors.
            OSError: the file cannot be written; an older one is left as it was.
        """
        pretrained.save(path, self.state_dict(), self.config, metadata)
