"""Writing a video file: the encoder, and what is copied from the input beside the frames."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import UserError
from ._av import ffmpeg_messages, import_av, open_container, reason_of
from .codecs import check_encoder, choose_encoder, encoder_options, read_hdr
from .formats import TWINS, fitting_format, format_name, to_frame
from .planes import SUBSAMPLINGS, PlaneFormat
from .reader import Item, VideoReader
from .suffixes import VIDEO_SUFFIXES

__all__ = ["VideoWriter"]

# Containers that count frames instead of keeping their times.
_COUNTING = ("avi", "yuv4mpegpipe")
# Encoders whose time base may have no more than 16 bits.
_COARSE = ("mpeg1video", "mpeg2video", "mpeg4", "libxvid", "h263", "h263p")
_NO_DISPLAY_MATRIX = ("avi", "yuv4mpegpipe")
# How far, in frames, a time may lie from the number that stands for it without being worth a word.
_UNEVEN = 0.3
# Encoders that refuse odd sizes where chroma is halved.
_EVEN = ("libx264", "libx265", "h264_", "hevc_")
# Encoders that write the aspect of pixels; for others that only MP4 does, as PyAV has it.
_KEEP_ASPECT = (*_EVEN, "mpeg", "libxvid")
# What containers write by themselves, or what is not true of the output any more.
_STALE = ("encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id", "duration")
_STALE_PARTS = ("bps", "number_of_", "_statistics_")
# Threads of the encoder: more cost frames in memory and compression, and help little.
_MAX_THREADS = 16
# What a frame may carry that PyAV cannot hand on.
_LOST = {
    "A53_CC": "closed captions",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "SPHERICAL": "the description of a spherical video",
    "STEREO3D": "the description of a stereoscopic video",
}


class VideoWriter:
    """An output file, open from its header on.

    Attributes:
        width, height: of its frames.
        encoder: its name.
        notices: what cannot be kept, one line each.
    """

    def __init__(
        self,
        path: Path,
        reader: VideoReader,
        scale: int,
        *,
        frames: int = 0,
        codec: str | None = None,
        crf: int | None = None,
    ) -> None:
        """Open the encoder and write the header.

        Args:
            path: the file, whose suffix says the container.
            reader: of the input, from which nothing but the first frame is taken.
            scale: of the enlargement.
            frames: how many will come; 0 where that is not known.
            codec, crf: as for upscale_video.

        Raises:
            UserError: the container or the encoder does not take it.
            OSError: the file cannot be written.
        """
        self.notices: list[str] = []
        self.encoder = choose_encoder(path, codec)
        found = check_encoder(self.encoder, crf)
        self.encoder = found.name  # "h264" is libx264
        self._container_name = VIDEO_SUFFIXES[path.suffix.lower()]
        self._layout = self._frame_layout = reader.layout
        self._scale = scale
        self.width, self.height = self._size(reader)
        self._counting = self._container_name in _COUNTING or found.name in _COARSE
        self._input_base = reader.time_base
        self._time_base = 1 / reader.rate if self._counting else reader.time_base
        self._rate = reader.rate
        self._last: int | None = None
        self._uneven = False
        self._container = open_container(
            path,
            "w",
            format=self._container_name,
            # Y4M of more than 8 bits is an extension, which everybody reads.
            container_options={"strict": "unofficial"},
        )
        try:
            self._video = self._add_video(reader, found, crf, frames)
            self._copied = self._add_others(reader)
            with ffmpeg_messages():
                self._open_encoder()
                with self._telling():
                    self._container.start_encoding()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete the file, or leave half a one."""
        # Of two failures, the first is the one to tell.
        with contextlib.suppress(*(() if error is None else (Exception,))), self._telling():
            self._container.close()

    def write(self, items: Iterable[Item]) -> None:
        """Encode frames and copy packets, to the last.

        Raises:
            OSError: the file cannot be written, a full disk above all.
            UserError: the encoder or the container refuses something.
        """
        with self._telling():
            for item in items:
                for packet in item.packets:
                    self._copy(packet)
                if item.planes:
                    self._container.mux(self._video.encode(self._frame(item)))
            self._container.mux(self._video.encode(None))

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what FFmpeg refuses into a line; errors of the system stay what they are."""
        try:
            yield
        except OSError:
            raise
        except import_av().FFmpegError as error:
            what = f"{self._container.format.name} of {self.encoder}"
            raise UserError(f"{what} cannot be written: {reason_of(error)}") from error

    def _size(self, reader: VideoReader) -> tuple[int, int]:
        height, width = (self._scale * side for side in (reader.first.height, reader.first.width))
        steps = SUBSAMPLINGS[self._layout.subsampling] or (1, 1)
        if self.encoder.startswith(_EVEN):
            even = height - height % steps[0], width - width % steps[1]
            if even != (height, width):
                self.notices.append(
                    f"{self.encoder} takes even sizes only: {width}x{height} is cut to "
                    f"{even[1]}x{even[0]}"
                )
                height, width = even
        return width, height

    def _add_video(self, reader: VideoReader, codec: Any, crf: int | None, frames: int) -> Any:
        hdr = read_hdr(reader.side_data)
        options, keeps_hdr = encoder_options(codec.name, crf, hdr, frames)
        if reader.siting:
            options["chroma_sample_location"] = reader.siting
        try:
            stream = self._container.add_stream(codec.name, rate=reader.rate, options=options)
        except ValueError:
            raise UserError(
                f"{self._container.format.name} cannot hold what {codec.name} makes; "
                "choose another --codec, or --ext mkv"
            ) from None
        wanted = format_name(self._layout.subsampling, self._layout.depth)
        chosen = fitting_format(wanted, [f.name for f in codec.video_formats or ()])
        if chosen not in (wanted, TWINS.get(wanted)):
            self.notices.append(f"{codec.name} cannot hold {wanted}: it becomes {chosen}")
        self._frame_layout = _with_chroma(self._layout, chosen)
        context = stream.codec_context
        context.width, context.height = self.width, self.height
        context.pix_fmt = chosen
        context.time_base = stream.time_base = self._time_base
        context.sample_aspect_ratio = reader.pixel_aspect
        context.color_range = reader.colour.range
        context.colorspace = reader.colour.matrix
        context.color_primaries = reader.colour.primaries
        context.color_trc = reader.colour.transfer
        context.thread_count = min(os.cpu_count() or 1, _MAX_THREADS)
        # PyAV asks for slices alone, with which x264 compresses less.
        context.thread_type = "AUTO"
        context.flags |= int(import_av().codec.context.Flags.frame_duration)
        if self._container_name == "avi":
            context.max_b_frames = 0  # AVI has one time a frame: the one it is decoded at
        if codec.name == "libx265" and self._container_name in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # the tag that Apple's players insist on
        self._keep_rotation(stream, reader)
        stream.metadata.update(_fresh(reader.stream.metadata))
        self._container.metadata.update(_fresh(reader.container.metadata))
        stream.disposition = int(reader.stream.disposition)
        self._note_losses(reader, hdr is not None and not keeps_hdr)
        return stream

    def _open_encoder(self) -> None:
        context = self._video.codec_context
        try:
            context.open()
        except (import_av().FFmpegError, ValueError) as error:
            raise UserError(
                f"{self.encoder} does not take {self.width}x{self.height} of {context.pix_fmt}: "
                f"{reason_of(error)}"
            ) from error
        if "crf" in context.options:
            raise UserError(f"--crf: {self.encoder} has no such option")

    def _keep_rotation(self, stream: Any, reader: VideoReader) -> None:
        """How players are to turn the picture, as FFmpeg's display matrix of nine numbers."""
        matrix = np.frombuffer(reader.side_data.get("DISPLAYMATRIX", b""), np.int32).tolist()
        if len(matrix) != 9:
            return
        if self._container_name in _NO_DISPLAY_MATRIX:
            if reader.first.rotation:
                self.notices.append(
                    f"{self._container.format.name} cannot say that the picture is to be turned "
                    f"by {reader.first.rotation} degrees; choose --ext mp4 or mkv"
                )
            return
        for place in (6, 7):  # a movement in pixels
            matrix[place] = max(-(1 << 31), min((1 << 31) - 1, matrix[place] * self._scale))
        stream.set_display_matrix(matrix)

    def _note_losses(self, reader: VideoReader, loses_hdr: bool) -> None:
        names = reader.side_data
        lost = sorted({what for name, what in _LOST.items() if name in names})
        if loses_hdr:
            lost.append("HDR10 metadata")
        keeps_aspect = self._container_name in ("mp4", "mov") or self.encoder.startswith(
            _KEEP_ASPECT
        )
        if reader.pixel_aspect not in (0, 1) and not keeps_aspect:
            lost.append(f"the aspect of its pixels, {reader.pixel_aspect}")
        if lost:
            self.notices.append(f"cannot be kept and is left out: {', '.join(lost)}")

    def _add_others(self, reader: VideoReader) -> dict[int, Any]:
        """Streams to copy into, by the index of theirs in the input."""
        copied = {}
        chapters = reader.container.chapters()
        for stream in reader.container.streams:
            if stream.index == reader.stream.index:
                continue
            name = _describe(stream)
            if chapters and "bin_data" in name:
                continue  # the chapters, as MP4 has them
            if stream.type == "video":
                self.notices.append(f"{name} is left out")
                continue
            try:
                new = self._add_copy(stream)
            except (ValueError, import_av().FFmpegError):
                new = None
            if new is None:
                self.notices.append(
                    f"{self._container.format.name} cannot hold its {name}: left out"
                )
                continue
            if stream.type != "attachment":
                copied[stream.index] = new
        if chapters and self._container_name in _COUNTING:
            self.notices.append(f"{self._container.format.name} has no chapters: they are left out")
        elif chapters:
            self._container.set_chapters(chapters)
        return copied

    def _add_copy(self, stream: Any) -> Any:
        """A stream like that one, or None where the container has none such."""
        if self._container_name == "yuv4mpegpipe":
            return None
        if stream.type == "attachment":
            if self._container_name != "matroska" or not stream.name:
                return None
            return self._container.add_attachment(
                stream.name, stream.mimetype or "application/octet-stream", stream.data
            )
        if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
            return None
        new = self._container.add_stream_from_template(stream, opaque=True)
        new.metadata.update(_fresh(stream.metadata))
        new.disposition = int(stream.disposition)
        return new

    def _copy(self, packet: Any) -> None:
        stream = self._copied.get(packet.stream.index)
        if stream is not None:
            packet.stream = stream
            if packet.dts is None:  # nothing but video is reordered
                packet.dts = packet.pts
            self._container.mux(packet)

    def _frame(self, item: Item) -> Any:
        sizes = self._layout.plane_sizes(self.height, self.width)
        planes = [
            plane[:rows, :columns]
            for plane, (rows, columns) in zip(item.planes, sizes, strict=True)
        ]
        if self._frame_layout is not self._layout:
            neutral = self._layout.dtype.type(1 << (self._layout.depth - 1))
            chroma = self._frame_layout.plane_sizes(self.height, self.width)[1:]
            planes += [np.broadcast_to(neutral, size) for size in chroma]
        frame = to_frame(planes, self._frame_layout)
        context = self._video.codec_context
        frame.color_range = context.color_range
        frame.colorspace = context.colorspace
        frame.color_primaries = context.color_primaries
        frame.color_trc = context.color_trc
        pts, duration = item.pts, item.duration
        if self._counting:
            pts, duration = self._count(pts), 1
        frame.pts, frame.duration, frame.time_base = pts, duration, self._time_base
        return frame

    def _count(self, pts: int) -> int:
        """A time as a number of frames of the average rate; no two are the same."""
        exact = pts * self._input_base / self._time_base
        number = round(exact)
        if self._last is not None:
            # Y4M has no times at all.
            plain = self._container_name == "yuv4mpegpipe"
            number = self._last + 1 if plain else max(number, self._last + 1)
        self._last = number
        if not self._uneven and abs(exact - number) > _UNEVEN:
            self._uneven = True
            self.notices.append(
                f"its frames come at a varying rate, which {self._container.format.name} with "
                f"{self.encoder} does not keep: they are counted, {float(self._rate):.3f} a second"
            )
        return number


def _with_chroma(layout: PlaneFormat, chosen: str) -> PlaneFormat:
    """The layout of frames for an encoder: of grey with chroma, where it has no grey.

    FFmpeg takes grey for full-range whatever its frames say, and would squeeze it.
    """
    subsampling = chosen.replace("yuvj", "yuv")[3:6]
    if layout.subsampling != "grey" or not chosen.startswith("yuv"):
        return layout
    return replace(layout, subsampling=subsampling) if subsampling in SUBSAMPLINGS else layout


def _describe(stream: Any) -> str:
    kind = {"audio": "sound", "subtitle": "subtitles", "video": "another video"}.get(
        stream.type, stream.type
    )
    context = stream.codec_context
    return f"{kind} ({context.name if context else stream.name or 'unknown'}, #{stream.index})"


def _fresh(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE and not key.lower().startswith(_STALE_PARTS)
    }
