"""Networks of RGB and the networks of YCbCr that compute the same, by their weights alone.

Both colour spaces are affine maps of each other, and the first and the last layer are linear on
their outer side: the conversions disappear into their weights. So a network that was trained on
YCbCr (section 4.5 of the TPAMI paper) is kept, evaluated and run as one of RGB.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from .. import colour
from ..modules import FusedSRCNN

__all__ = ["rgb_as_ycbcr", "ycbcr_as_rgb"]

Matrix = npt.NDArray[np.float64]


def ycbcr_as_rgb(model: FusedSRCNN) -> None:
    """Turn a network of YCbCr (in units of 255) into that of RGB in [0, 1], in place.

    The same function to rounding, borders included where the padding is "replicate".
    """
    to_rgb = np.array([weights for weights, _ in colour.YCBCR_TO_RGB])
    added = np.array([offset for _, offset in colour.YCBCR_TO_RGB])
    to_ycbcr = np.linalg.inv(to_rgb)
    _substitute(model, to_ycbcr, -to_ycbcr @ added, to_rgb, added)


def rgb_as_ycbcr(model: FusedSRCNN) -> None:
    """The inverse of :func:`ycbcr_as_rgb`."""
    to_rgb = np.array([weights for weights, _ in colour.YCBCR_TO_RGB])
    added = np.array([offset for _, offset in colour.YCBCR_TO_RGB])
    to_ycbcr = np.linalg.inv(to_rgb)
    _substitute(model, to_rgb, added, to_ycbcr, -to_ycbcr @ added)


@torch.no_grad()
def _substitute(
    model: FusedSRCNN, into: Matrix, into_offset: Matrix, out: Matrix, out_offset: Matrix
) -> None:
    """Replace f(x) by out @ f(into @ x + into_offset) + out_offset, in place."""
    first, last = model.conv1, model.convs[-1]
    assert first.bias is not None and last.bias is not None  # noqa: PT018  the type allows None

    def of(values: Matrix) -> torch.Tensor:
        return torch.from_numpy(values).to(first.weight.device)

    weight = first.weight.double()
    bias = first.bias.double() + torch.einsum("ncij,c->n", weight, of(into_offset))
    first.bias.copy_(bias)
    first.weight.copy_(torch.einsum("ncij,cd->ndij", weight, of(into)))
    last.weight.copy_(torch.einsum("cd,dnij->cnij", of(out), last.weight.double()))
    last.bias.copy_(of(out) @ last.bias.double() + of(out_offset))
