"""Reading a video file: its frames as planes, and the packets of everything else in it."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import UserError
from ._av import fraction, import_av, open_container, reading, reason_of, side_data
from .chroma import SITINGS
from .formats import format_name, from_frame, nearest_layout
from .planes import Plane, PlaneFormat

__all__ = ["Colour", "Item", "VideoReader", "read_video_size", "scan_video"]

# How much shorter than its header says a file may end, in seconds: so much of it, within limits.
_SHORT_SHARE, _SHORT_LEAST, _SHORT_MOST = 0.02, 0.5, 2
# Packets that may wait for the next frame, such as those behind the last one.
_MAX_PACKETS = 256
# FFmpeg's numbers: AVColorRange, AVColorSpace.
_LIMITED, _FULL = 1, 2
_BT709 = 1


@dataclass(frozen=True)
class Colour:
    """What the numbers of a frame mean, by FFmpeg's numbers; 2 (range: 0) is "not said"."""

    range: int
    matrix: int
    primaries: int
    transfer: int


@dataclass
class Item:
    """Something that travels from the reader to the writer, in the file's order.

    Attributes:
        packets: of the other streams, that come before the frame.
        planes: of the frame, as :func:`srcnn_fused.video.planes.enlarge_planes` takes them; none
            where there are packets only.
        pts: presentation time, in units of the stream's time base.
        duration: in the same units; 0 where it is not known.
        holder: keeps the memory of the planes.
    """

    packets: list[Any]
    planes: list[Plane] = field(default_factory=list)
    pts: int = 0
    duration: int = 0
    holder: Any = None


def scan_video(path: Path) -> int:
    """Count the frames of a file and see that it is whole, without decoding anything.

    Returns the number of video packets, which is that of the frames in all but rare formats; 0
    where it is not known.

    Raises:
        UserError: the file cannot be read, is cut short, or holds no video.
    """
    with reading(path), _open(path) as container:
        stream = _video_stream(container, path)
        if container.format.name == "yuv4mpegpipe":
            return _count_raw_frames(path, stream)
        frames, end, damaged = 0, Fraction(0), False
        # Matroska's duration counts from 0, the others' from where the file begins.
        counts_from_zero = "matroska" in container.format.name
        start = Fraction(0 if counts_from_zero else container.start_time or 0, 1_000_000)
        for packet in container.demux():
            if not packet.size:
                continue
            damaged = packet.is_corrupt  # of the last one: there a cut falls
            frames += packet.stream.index == stream.index and not packet.is_discard
            base = fraction(packet.time_base)
            if packet.pts is not None and base is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * base - start)
        said = Fraction(container.duration or 0, 1_000_000)
        if damaged or said - end > min(max(_SHORT_LEAST, said * _SHORT_SHARE), _SHORT_MOST):
            raise UserError(
                f"{path}: is cut short: it ends after {float(end):.2f} s of {float(said):.2f}; "
                "ffmpeg -i IN -c copy OUT makes a whole file of what is there"
            )
        return frames


def read_video_size(path: Path) -> tuple[int, int, int]:
    """Width, height and about how many frames (0: not known), from the header.

    Raises:
        ImportError: PyAV is missing.
        UserError: as :func:`scan_video`, for what the header shows.
    """
    with reading(path), _open(path) as container:
        stream = _video_stream(container, path)
        seconds = Fraction(container.duration or 0, 1_000_000)
        rate = fraction(stream.average_rate) or fraction(stream.guessed_rate) or 0
        frames = stream.frames or round(seconds * rate)
        return stream.codec_context.width, stream.codec_context.height, frames


class VideoReader:
    """An open video file.

    Attributes:
        container, stream: PyAV's, of the file and of the video in it that is enlarged.
        layout: of the planes.
        colour: of the first frame.
        first: the first frame, av.VideoFrame, for what only frames tell.
        side_data: what comes with it, by FFmpeg's names.
        pixel_aspect: width of a pixel over its height; 0 where it is not said.
        siting: of chroma as the file says it; "" where it does not.
        rate: frames a second, on average.
        time_base: seconds that the stream counts time in.
        notices: what the user should know about the reading, one line each.
    """

    def __init__(self, path: Path, *, max_pixels: int | None = None) -> None:
        """Open a file and decode its first frame.

        Raises:
            UserError: the file cannot be read, holds no video, or larger frames than allowed.
        """
        self._path = path
        with reading(path):
            self.container = _open(path)
            try:
                self._start(max_pixels)
            except BaseException:
                self.container.close()
                raise

    def _start(self, max_pixels: int | None) -> None:
        path = self._path
        self.stream = _video_stream(self.container, path)
        context = self.stream.codec_context
        pixels = context.width * context.height
        if max_pixels is not None and pixels > max_pixels:
            raise UserError(
                f"{path}: {context.width}x{context.height} is {pixels} pixels, above the limit of "
                f"{max_pixels}; --max-pixels raises it"
            )
        self.stream.thread_type = "AUTO"  # frames and slices; PyAV's default is slices alone
        siting = _siting(self.container, self.stream.index)
        # One for all frames: each keeps megabytes.
        self._reformatter = import_av().video.reformatter.VideoReformatter()
        self._packets = self.container.demux()
        self._waiting: list[Any] = []  # packets of other streams
        self._decoded: list[Any] = self._decode()
        if not self._decoded:
            raise UserError(f"{path}: cannot be read: it holds no frame of video")
        self.first = self._decoded[0]
        self.side_data = side_data(self.first, context)
        self.notices: list[str] = []
        self.layout, self.colour = self._understand(siting)
        self.siting = siting
        self.rate = (
            fraction(self.stream.average_rate) or fraction(self.stream.guessed_rate) or Fraction(25)
        )
        self.time_base = fraction(self.stream.time_base) or 1 / self.rate
        self.pixel_aspect = (
            fraction(self.stream.sample_aspect_ratio)
            or fraction(context.sample_aspect_ratio)
            or Fraction(0)
        )
        self._size = (self.first.width, self.first.height)
        self._step = max(1, round(1 / (self.rate * self.time_base)))

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.container.close()

    def items(self) -> Generator[Item, None, None]:
        """All frames and packets, once.

        Raises:
            UserError: the file cannot be decoded, or the size of its frames changes.
        """
        with reading(self._path):
            last = None
            damaged = 0
            while self._decoded or self._waiting:
                packets, self._waiting = self._waiting, []
                if not self._decoded:
                    yield Item(packets)
                for frame in self._decoded:
                    damaged += frame.is_corrupt
                    item = self._item(frame, packets, last)
                    last, packets = item.pts, []
                    yield item
                self._decoded = self._decode()
        if damaged:
            self.notices.append(f"{damaged} of its frames are damaged")

    @property
    def interlaced(self) -> bool:
        """Whether a frame so far was; such a video may have two packets a frame."""
        return _INTERLACED in self.notices

    def _decode(self) -> list[Any]:
        """Frames of the next packet that gives any, or none once many others wait."""
        for packet in self._packets:
            if packet.stream.index == self.stream.index:
                frames = self._decode_packet(packet)
                if frames:
                    return frames
            elif packet.size:
                self._waiting.append(packet)
                if len(self._waiting) >= _MAX_PACKETS and hasattr(self, "first"):
                    break
        return []

    def _decode_packet(self, packet: Any) -> list[Any]:
        try:
            frames: list[Any] = packet.decode()
        except import_av().FFmpegError as error:
            # Near it: decoders with threads report late.
            base = fraction(packet.time_base)
            known = packet.pts is not None and base is not None
            time = f" near {float(packet.pts * base):.2f} s" if known else ""
            raise UserError(
                f"{self._path}: its video cannot be decoded{time}: {reason_of(error)}"
            ) from error
        return frames

    def _item(self, frame: Any, packets: list[Any], last: int | None) -> Item:
        if (frame.width, frame.height) != self._size:
            raise UserError(
                f"{self._path}: its frames change from {self._size[0]}x{self._size[1]} to "
                f"{frame.width}x{frame.height}, which one output cannot hold"
            )
        if frame.interlaced_frame and _INTERLACED not in self.notices:
            self.notices.append(_INTERLACED)
        pts = frame.pts
        if pts is None:
            pts = 0 if last is None else last + self._step
        if last is not None:
            pts = max(pts, last + 1)  # as broken files need it: encoders insist
        holder, planes = from_frame(frame, self.layout, self._reformatter)
        return Item(packets, planes, pts, frame.duration or 0, holder)

    def _understand(self, siting: str) -> tuple[PlaneFormat, Colour]:
        """The layout to decode to and the colours of it, from the first frame."""
        frame = self.first
        subsampling, depth = nearest_layout(frame.format)
        colour = Colour(
            int(frame.color_range),
            int(frame.colorspace),
            int(frame.color_primaries),
            int(frame.color_trc),
        )
        if frame.format.name.startswith("yuvj"):
            colour = Colour(_FULL, colour.matrix, colour.primaries, colour.transfer)
        components = frame.format.components
        if frame.format.is_rgb or frame.format.has_palette:
            colour = Colour(_LIMITED, _BT709, colour.primaries, colour.transfer)
            self.notices.append(f"its RGB ({frame.format.name}) is converted to Y'CbCr of BT.709")
        elif max(component.bits for component in components) > depth:
            self.notices.append(f"its samples ({frame.format.name}) are reduced to {depth} bits")
        if any(component.is_alpha for component in components):
            self.notices.append("its transparency is left out")
        full_range = colour.range == _FULL
        if siting not in SITINGS:  # the defaults of JPEG and of MPEG-2 and H.264
            siting = "center" if full_range else "left"
        return PlaneFormat(subsampling, depth, full_range, siting), colour


_INTERLACED = (
    "is interlaced, and is enlarged as if it were not; "
    "ffmpeg -i IN -vf bwdif OUT makes whole frames first"
)


def _open(path: Path) -> Any:
    if path.is_dir():
        raise IsADirectoryError
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: is empty")
    return open_container(path, "r")


def _video_stream(container: Any, path: Path) -> Any:
    cover = import_av().stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    best = container.streams.best("video")
    stream = next((s for s in streams if best is not None and s.index == best.index), None)
    stream = stream or next(iter(streams), None)
    if stream is None:
        raise UserError(f"{path}: holds no video")
    if stream.codec_context is None:
        raise UserError(f"{path}: its video is of a kind that cannot be decoded here")
    return stream


def _siting(container: Any, index: int) -> str:
    """Where chroma lies, as the file says it; "" where it does not.

    Before version 19 PyAV shows it nowhere but in FFmpeg's description of the file.
    """
    log = import_av().logging
    before = log.get_level()
    log.set_level(log.INFO)
    log.set_libav_level(log.VERBOSE)
    try:
        text = container.dumps_format()
    finally:
        log.set_libav_level(log.INFO)
        log.set_level(before)
    line = re.search(rf"Stream #\d+:{index}\b.*Video:.*", text)
    names = "|".join(SITINGS)
    found = re.search(rf"[(, ]({names})\)", line[0]) if line else None
    return found[1] if found else ""


def _count_raw_frames(path: Path, stream: Any) -> int:
    """Frames of a Y4M file, whose size tells them: a scan would read all of it.

    Raises:
        UserError: the last frame is not whole.
    """
    layout = PlaneFormat(*nearest_layout(stream.codec_context.format))
    stored = stream.codec_context.format.name.replace("yuvj", "yuv")
    if stored != format_name(layout.subsampling, layout.depth):
        return 0  # other planes than those that it will be decoded to
    sizes = layout.plane_sizes(stream.codec_context.height, stream.codec_context.width)
    frame_bytes = sum(rows * columns for rows, columns in sizes) * layout.dtype.itemsize
    with path.open("rb") as file:
        header = file.readline()
        if file.readline() != b"FRAME\n":  # parameters, whose length may vary
            return 0
    count, rest = divmod(path.stat().st_size - len(header), frame_bytes + len(b"FRAME\n"))
    if rest:
        raise UserError(f"{path}: is cut short: after {count} frames comes a part of one")
    return count
