"""Encoders: which one a container gets, how good a picture it is asked for, and HDR's numbers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ._av import import_av
from .suffixes import VIDEO_SUFFIXES

__all__ = ["DEFAULT_CRF", "check_encoder", "choose_encoder", "encoder_options", "read_hdr"]

# Encoders that take a constant rate factor, and ours: a little finer than their own defaults, since
# an enlargement is to be looked at, not streamed. Each has its own scale.
DEFAULT_CRF = {
    "libx264": 16,
    "libx265": 18,
    "libsvtav1": 20,
    "libvpx-vp9": 20,
    "libaom-av1": 20,
}
_MAX_CRF = 63
# Lossless whatever one asks of them.
_LOSSLESS = ("ffv1", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "magicyuv")
_OTHER_OPTIONS = {
    "libx265": {"x265-params": "log-level=error"},  # x265 writes to stderr by itself
    # By default libvpx takes one thread for most sizes, and several times as long for little.
    "libvpx-vp9": {"row-mt": "1", "cpu-used": "2"},
    "ffv1": {"level": "3", "slicecrc": "1"},
}
# With fewer frames than its reordering needs, x265 gives decoding times out of thin air.
_SHORTEST_X265 = 4
# The option that takes an encoder's own parameters, and what joins a name and its value.
_PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}


def choose_encoder(target: Path, codec: str | None) -> str:
    """The encoder for a file: the one asked for, or its container's usual one.

    Raises:
        UserError: a Y4M file, which holds raw video, is to be encoded.
    """
    container = VIDEO_SUFFIXES[target.suffix.lower()]
    if container == "yuv4mpegpipe":
        if codec not in (None, "rawvideo"):
            raise UserError(f"{target}: Y4M holds raw video, not {codec}; choose --ext mkv")
        return "rawvideo"
    return codec or ("libvpx-vp9" if container == "webm" else "libx264")


def check_encoder(codec: str, crf: int | None) -> Any:
    """PyAV's codec of that name.

    Raises:
        UserError: there is none that encodes video, or it has no such quality as asked for.
    """
    av = import_av()
    try:
        found = av.Codec(codec, "w")
    except ValueError:
        found = None
    if found is None or found.type != "video":
        raise UserError(f"--codec: no encoder of video is called {codec!r}, such as libx264")
    if crf is not None and not 0 <= crf <= _MAX_CRF:
        raise UserError(f"--crf must be 0 (best) to {_MAX_CRF}, got {crf}")
    if crf is not None and found.name in _LOSSLESS:
        raise UserError(f"--crf: {codec} is lossless and has none")
    return found


@dataclass(frozen=True)
class Hdr:
    """HDR10's description of the display that a video was made on.

    Attributes:
        primaries: (x, y) of red, green, blue and white.
        luminance: (darkest, brightest) in cd/m2.
        light: brightest pixel and brightest mean of a frame in cd/m2; None where not said.
    """

    primaries: tuple[tuple[float, float], ...]
    luminance: tuple[float, float]
    light: tuple[int, int] | None


def read_hdr(data: dict[str, bytes]) -> Hdr | None:
    """HDR10 metadata in the side data of a video; None where they are not there, or not whole.

    PyAV gives out FFmpeg's structures as bytes: AVMasteringDisplayMetadata is 10 fractions of two
    ints (red, green, blue, white, darkest, brightest) and two flags; AVContentLightMetadata two
    ints.
    """
    display = data.get("MASTERING_DISPLAY_METADATA", b"")
    if len(display) < 88:
        return None
    *fractions, has_primaries, has_luminance = struct.unpack("=22i", display[:88])
    pairs = list(zip(fractions[::2], fractions[1::2], strict=True))
    if not (has_primaries and has_luminance) or any(below <= 0 for _, below in pairs):
        return None
    values = [above / below for above, below in pairs]
    light = data.get("CONTENT_LIGHT_LEVEL", b"")
    return Hdr(
        tuple(zip(values[:8:2], values[1:8:2], strict=True)),
        (values[8], values[9]),
        struct.unpack("=2I", light[:8]) if len(light) >= 8 else None,
    )


def encoder_options(
    codec: str, crf: int | None, hdr: Hdr | None, frames: int
) -> tuple[dict[str, str], bool]:
    """Options of an encoder, and whether HDR metadata are among them.

    Args:
        frames: that are to be encoded; 0 where that is not known.
    """
    options = dict(_OTHER_OPTIONS.get(codec, {}))
    if codec == "libx265" and 0 < frames <= _SHORTEST_X265:
        options["x265-params"] += ":bframes=0"
    quality = DEFAULT_CRF.get(codec) if crf is None else crf
    if quality is not None:
        options["crf"] = str(quality)
    if hdr is None or codec not in _PARAMETERS:
        return options, False
    key = _PARAMETERS[codec]
    own = [options[key]] if key in options else []
    options[key] = ":".join([*own, *_hdr_parameters(codec, hdr)])
    return options, True


def _hdr_parameters(codec: str, hdr: Hdr) -> list[str]:
    """x264 and x265 count in 1/50000 and in 1/10000 cd/m2, SVT-AV1 in plain numbers."""
    whole = codec != "libsvtav1"
    red, green, blue, white = (
        f"({round(50000 * x)},{round(50000 * y)})" if whole else f"({x:.5f},{y:.5f})"
        for x, y in hdr.primaries
    )
    dark, bright = hdr.luminance
    levels = f"({round(10000 * bright)},{round(10000 * dark)})" if whole else f"({bright},{dark})"
    display = f"G{green}B{blue}R{red}WP{white}L{levels}"
    names = {
        "libx264": ("mastering-display", "cll"),
        "libx265": ("master-display", "max-cll"),
        "libsvtav1": ("mastering-display", "content-light"),
    }[codec]
    parameters = [f"{names[0]}={display}"]
    if hdr.light is not None:
        parameters.append(f"{names[1]}={hdr.light[0]},{hdr.light[1]}")
    if codec == "libx265":
        parameters.append("hdr10=1")
    return parameters
