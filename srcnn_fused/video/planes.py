"""One frame of video, planes in and planes out: what is enlarged by the network, and what not.

Video comes as Y'CbCr. Luma goes through a one-channel network, Cb and Cr are enlarged by bicubic at
their own, often halved, size. Only luma meets the network, so the matrix (BT.601, 709, 2020) that
makes colours of the three plays no part, and nothing is converted.

Range. SRCNN was trained on studio-swing luma, black at 16/255 and white at 235/255 (see
:mod:`srcnn_fused.colour`). Limited-range video is that, and goes in as it is: Y / 255 of 8 bits,
Y / 1020 of 10 (64 to 940). Full-range luma is mapped there and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..modules import FusedSRCNN
from ..upscale import enlarge
from .chroma import SITINGS, enlarge_chroma, siting_shift

__all__ = ["SUBSAMPLINGS", "Plane", "PlaneFormat", "check_model", "enlarge_planes"]

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# Luma pixels per chroma sample, (y, x); None where there is no chroma.
SUBSAMPLINGS: dict[str, tuple[int, int] | None] = {
    "420": (2, 2),
    "422": (1, 2),
    "444": (1, 1),
    "grey": None,
}
# Full-range luma v in [0, 1] as the network knows it: (16 + 219 v) / 255.
_BLACK, _RANGE = 16 / 255, 219 / 255


@dataclass(frozen=True)
class PlaneFormat:
    """How the samples of a frame are meant.

    Attributes:
        subsampling: "420", "422", "444" or "grey" (luma alone).
        depth: bits a sample, 8 to 16; planes are uint8 with 8 and uint16 with more.
        full_range: black at 0 and white at the top, not at 16 and 235 (times ``2 ** (depth - 8)``).
        siting: where chroma samples lie between luma pixels, one of
            :data:`srcnn_fused.video.chroma.SITINGS`; of no account for "444" and "grey".
    """

    subsampling: str = "420"
    depth: int = 8
    full_range: bool = False
    siting: str = "left"

    def __post_init__(self) -> None:
        if self.subsampling not in SUBSAMPLINGS:
            known = ", ".join(SUBSAMPLINGS)
            raise ValueError(f"subsampling must be one of {known}, got {self.subsampling!r}")
        if not 8 <= self.depth <= 16:
            raise ValueError(f"depth must be 8 to 16 bits, got {self.depth}")
        if self.siting not in SITINGS:
            raise ValueError(f"siting must be one of {', '.join(SITINGS)}, got {self.siting!r}")

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the planes."""
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)

    def plane_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of every plane of a frame; odd sizes round up, as video formats have it.

        Args:
            height, width: of the luma.
        """
        steps = SUBSAMPLINGS[self.subsampling]
        if steps is None:
            return [(height, width)]
        chroma = -(-height // steps[0]), -(-width // steps[1])
        return [(height, width), chroma, chroma]

    def shift(self, scale: int) -> tuple[float, float]:
        """(y, x) by which chroma is resampled off centre, in samples of the small plane."""
        steps = SUBSAMPLINGS[self.subsampling] or (1, 1)
        y, x = (
            siting_shift(position, scale) if step == 2 else 0.0
            for step, position in zip(steps, SITINGS[self.siting], strict=True)
        )
        return y, x


def check_model(model: FusedSRCNN) -> int:
    """The scale of a network that can enlarge video.

    Raises:
        ValueError: it has no scale, or not one channel.
    """
    if model.scale is None:
        raise ValueError("model.scale must be a positive integer, got None")
    if model.num_channels != 1:
        raise ValueError(
            f"video needs a model of one channel (luma), this one has {model.num_channels}"
        )
    return model.scale


@torch.inference_mode()
def enlarge_planes(planes: Sequence[Plane], model: FusedSRCNN, format: PlaneFormat) -> list[Plane]:  # noqa: A002  the field's word
    """Enlarge one frame by ``model.scale``: luma by the network, chroma by the model's bicubic.

    Args:
        planes: Y ``[H, W]``, and Cb and Cr of the size that :meth:`PlaneFormat.plane_sizes` says
            for it, unless the format is grey. Any strides.
        model: of one channel, with ``scale`` set, on any device and of any float dtype.
        format: of the planes.

    Returns:
        The planes of a frame of ``scale * H`` x ``scale * W`` in the same format. Values are
        rounded half up and clipped to what ``depth`` bits hold.

    Raises:
        ValueError: an argument is not as above.

    >>> model = FusedSRCNN.from_pretrained("9-1-5-x2")
    >>> y, c = np.full((6, 8), 16, np.uint8), np.full((3, 4), 128, np.uint8)
    >>> [plane.shape for plane in enlarge_planes([y, c, c], model, PlaneFormat("420"))]
    [(12, 16), (6, 8), (6, 8)]
    """
    scale = check_model(model)
    _check_planes(planes, format)
    height, width = planes[0].shape
    device = model.conv1.weight.device
    top = (1 << format.depth) - 1
    if format.full_range:
        factor, offset = _RANGE / top, _BLACK
    else:
        factor, offset = 1 / (255 << (format.depth - 8)), 0.0
    luma = _to_tensor(planes[0], device, factor, offset)[None, None]
    enlarged = enlarge(luma.to(model.conv1.weight.dtype), model)[0, 0]
    back = 1 / factor, -offset / factor
    out = [_to_plane(enlarged.float(), top, format.dtype, *back)]
    sizes = format.plane_sizes(scale * height, scale * width)
    if len(planes) > 1:
        pair = torch.stack([_to_tensor(plane, device) for plane in planes[1:]])
        backend = "reference" if model.backend == "reference" else "auto"
        chroma = enlarge_chroma(
            pair[None], scale, model.bicubic, shift=format.shift(scale), backend=backend
        )[0]
        rows, columns = sizes[1]  # of an odd luma, less than scale times the small plane
        out += [_to_plane(plane[:rows, :columns], top, format.dtype) for plane in chroma]
    return out


def _check_planes(planes: Sequence[Plane], format: PlaneFormat) -> None:  # noqa: A002
    count = 1 if SUBSAMPLINGS[format.subsampling] is None else 3
    if len(planes) != count:
        raise ValueError(f"planes must be {count} for {format.subsampling}, got {len(planes)}")
    for plane in planes:
        if plane.dtype != format.dtype:
            raise ValueError(
                f"planes of {format.depth} bits must be {format.dtype}, got {plane.dtype}"
            )
    shapes = [plane.shape for plane in planes]
    if len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(f"planes[0] must be [H, W] and not empty, got {list(shapes[0])}")
    expected = format.plane_sizes(*shapes[0])
    if shapes != expected:
        raise ValueError(
            f"planes of {format.subsampling} must have the sizes {expected}, got {shapes}"
        )


def _to_tensor(
    plane: Plane, device: torch.device, factor: float = 1.0, offset: float = 0.0
) -> Tensor:
    """``[H, W]`` integers -> float32: factor * plane + offset.

    In NumPy, on the CPU: with torch's threads so short a work waits for the one whose core the
    decoder or the encoder has at the moment. To a GPU the integers travel.
    """
    if device.type == "cpu":
        values = plane.astype(np.float32, order="C")
        if factor != 1:
            values *= factor
        if offset != 0:
            values += offset
        return torch.from_numpy(values)
    # torch warns of planes that cannot be written, and has no negative strides.
    if not plane.flags.writeable or min(plane.strides) < 0:
        plane = plane.copy()
    return torch.from_numpy(plane).to(device).to(torch.float32).mul_(factor).add_(offset)


def _to_plane(
    values: Tensor,
    top: int,
    dtype: np.dtype[np.generic],
    factor: float = 1.0,
    offset: float = 0.0,
) -> Plane:
    """factor * values + offset as integers: the one rounding, half up, and the one clipping."""
    plane: Plane
    if values.device.type == "cpu":
        numbers = np.multiply(values.numpy(), np.float32(factor))
        numbers += offset + 0.5
        np.maximum(numbers, 0, out=numbers)
        np.minimum(numbers, top, out=numbers)
        plane = numbers.astype(dtype)
        return plane
    kind = torch.uint8 if dtype == np.uint8 else torch.uint16
    plane = (values * factor).add_(offset + 0.5).clamp_(0, top).to(kind).cpu().numpy()
    return plane
