"""FFmpeg's pixel formats <-> planes: which ones are taken as they are, and what others become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ._av import import_av
from .planes import Plane, PlaneFormat

__all__ = ["TWINS", "fitting_format", "format_name", "from_frame", "nearest_layout", "to_frame"]

_DEPTHS = {8: "", 10: "10le", 12: "12le"}
_ACCURATE_ROUNDING = 0x40000  # FFmpeg's SWS_ACCURATE_RND, which PyAV has no name for before 18
# The same samples with Cb and Cr taking turns, as encoders in hardware like them.
TWINS = {
    "yuv420p": "nv12",
    "yuv422p": "nv16",
    "yuv444p": "nv24",
    "yuv420p10le": "p010le",
    "yuv422p10le": "p210le",
    "yuv444p10le": "p410le",
}
_BY_DIVISION = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}


def format_name(subsampling: str, depth: int) -> str:
    """FFmpeg's name of a planar format, such as yuv420p10le."""
    stem = "gray" if subsampling == "grey" else f"yuv{subsampling}p"
    return stem + _DEPTHS[depth]


def nearest_layout(video_format: Any) -> tuple[str, int]:
    """Subsampling and depth of the planar format that loses least of an av.VideoFormat.

    4:1:1 becomes 4:2:2, 4:1:0 4:2:0, 4:4:0 4:4:4 and RGB 4:4:4; more than 12 bits become 12.
    """
    bits = max(component.bits for component in video_format.components)
    depth = next((depth for depth in _DEPTHS if depth >= bits), 12)
    colours = sum(not component.is_alpha for component in video_format.components)
    if video_format.is_rgb or video_format.has_palette:
        return "444", depth
    if colours == 1:
        return "grey", depth
    across, down = 64 // video_format.chroma_width(64), 64 // video_format.chroma_height(64)
    if across == 1:
        down = 1
    return _BY_DIVISION[min(across, 2), min(down, 2)], depth


def fitting_format(wanted: str, known: Sequence[str]) -> str:
    """The format of an encoder's that loses least of the wanted one.

    Args:
        wanted: a planar format, as :func:`format_name` makes it.
        known: what the encoder takes; empty where it does not say.
    """
    known = [name.replace("yuvj", "yuv") for name in known]
    if not known or wanted in known:
        return wanted
    if TWINS.get(wanted) in known:
        return TWINS[wanted]
    for candidate in _fallbacks(wanted):
        if candidate in known:
            return candidate
    return known[0]


def _fallbacks(wanted: str) -> Iterable[str]:
    """Other formats, best first: the same samples in more bits, more chroma, and then fewer."""
    stem = next(
        stem for stem in ("gray", "yuv420p", "yuv422p", "yuv444p") if wanted.startswith(stem)
    )
    bits = next(bits for bits, ending in _DEPTHS.items() if wanted == stem + ending)
    more = {"gray": ["yuv420p", "yuv422p", "yuv444p"], "yuv420p": ["yuv422p", "yuv444p"]}
    stems = [stem, *more.get(stem, []), "yuv444p", "yuv422p", "yuv420p"]
    depths = [bits, *(b for b in _DEPTHS if b > bits), *(b for b in reversed(_DEPTHS) if b < bits)]
    return (other + _DEPTHS[depth] for depth in depths for other in stems)


def from_frame(frame: Any, layout: PlaneFormat, reformatter: Any) -> tuple[Any, list[Plane]]:
    """Views of a frame's planes, and the frame that holds them.

    Args:
        frame: av.VideoFrame of any format.
        layout: what the planes are to be.
        reformatter: av.video.reformatter.VideoReformatter, for frames of other formats.
    """
    wanted = format_name(layout.subsampling, layout.depth)
    # yuvj420p and its like are the same samples, said to be full-range.
    if frame.format.name.replace("yuvj", "yuv") != wanted:
        frame = _convert(frame, wanted, reformatter)
    sizes = layout.plane_sizes(frame.height, frame.width)
    return frame, [
        _view(plane, size, layout) for plane, size in zip(frame.planes, sizes, strict=True)
    ]


def _convert(frame: Any, wanted: str, reformatter: Any) -> Any:
    av = import_av()
    kinds = av.video.reformatter
    how = int(kinds.Interpolation.BICUBIC) | _ACCURATE_ROUNDING
    if not (frame.format.is_rgb or frame.format.has_palette):
        return reformatter.reformat(frame, format=wanted, interpolation=how)
    return reformatter.reformat(
        frame,
        format=wanted,
        interpolation=how,
        dst_colorspace=int(kinds.Colorspace.ITU709),
        src_color_range=int(kinds.ColorRange.JPEG),
        dst_color_range=int(kinds.ColorRange.MPEG),
    )


def to_frame(planes: Sequence[Plane], layout: PlaneFormat) -> Any:
    """An av.VideoFrame that holds a copy of the planes."""
    height, width = planes[0].shape
    name = format_name(layout.subsampling, layout.depth)
    frame = import_av().VideoFrame(width, height, name)
    for target, plane in zip(frame.planes, planes, strict=True):
        _view(target, plane.shape, layout)[:] = plane
    return frame


def _view(plane: Any, size: tuple[int, ...], layout: PlaneFormat) -> Plane:
    """The samples of an av.VideoPlane without the padding of its lines."""
    stride = abs(plane.line_size)
    rows, columns = size
    view: Plane = np.ndarray(
        (rows, columns), layout.dtype, buffer=plane, strides=(stride, layout.dtype.itemsize)
    )
    return view[::-1] if plane.line_size < 0 else view
