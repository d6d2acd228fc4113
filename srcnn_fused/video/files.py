"""Enlarging a video file: reader, network and writer at work together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .._files import replacing
from ..modules import FusedSRCNN
from ._av import import_av
from .planes import check_model, enlarge_planes
from .reader import Item, VideoReader, scan_video
from .stages import run_stages
from .suffixes import VIDEO_SUFFIXES, is_video
from .writer import VideoWriter

__all__ = ["VideoSummary", "enlarge_file", "upscale_video"]


@dataclass(frozen=True)
class VideoSummary:
    """What was written.

    Attributes:
        width, height: of the frames.
        frames: their number.
        encoder: FFmpeg's name of it.
    """

    width: int
    height: int
    frames: int
    encoder: str


def upscale_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    model: FusedSRCNN,
    *,
    codec: str | None = None,
    crf: int | None = None,
    overwrite: bool = False,
    max_pixels: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> VideoSummary:
    """Enlarge a video file by ``model.scale``: luma by the network, chroma by bicubic.

    Kept are the frames' times (a varying rate too), pixel aspect, rotation, range and colour
    description, depth (8, 10 and, where the encoder has it, 12 bits), chapters, attachments and
    metadata; sound and subtitles are copied unchanged. Where a container or encoder cannot hold
    something, ``note`` hears of it. Memory does not depend on the length: frames are decoded and
    encoded in threads beside the network, with a few waiting in between.

    Args:
        source: a file that FFmpeg reads.
        target: the file to write, .mp4, .m4v, .mov, .mkv, .webm, .avi or .y4m. It comes into being
            when all is done, and not at all if something fails.
        model: of one channel, with ``scale`` set, on any device and of any float dtype.
        codec: an encoder of FFmpeg's; default: libx264, in .webm libvpx-vp9, in .y4m none.
        crf: how coarse it may be, 0 (best) to 63 on the encoder's own scale; default:
            :data:`srcnn_fused.video.codecs.DEFAULT_CRF`, or what the encoder does by itself.
        overwrite: replace a target that exists.
        max_pixels: refuse larger frames.
        progress: called after each frame with the number of those that are done, and of all (an
            estimate; 0 where it is not known).
        note: called with lines that the user should see.

    Returns:
        The size and number of the frames, and the encoder.

    Raises:
        ImportError: PyAV is missing: ``pip install 'srcnn_fused[video]'``.
        ValueError: the model or the target's suffix is not as above, or the target is the source.
        FileExistsError: the target exists, or has come into being meanwhile, and ``overwrite`` is
            not set.
        UserError: the source is missing, broken, cut short or not a video; an encoder or container
            that cannot hold it.
        OSError: the target cannot be written.

    Example:
        model = FusedSRCNN.from_pretrained("9-1-5-x2")
        upscale_video("clip.mp4", "clip_x2.mp4", model)
    """
    path, goal = Path(source), Path(target)
    check_model(model)
    if not is_video(goal):
        known = ", ".join(VIDEO_SUFFIXES)
        raise ValueError(f"target must end in one of {known}, got {goal.name!r}")
    if goal.exists() and path.exists() and goal.samefile(path):
        raise ValueError(f"target must not be the source, got {goal} for both")
    _check_free(goal, overwrite)
    import_av()
    with replacing(goal) as temporary:
        summary = enlarge_file(
            path,
            temporary,
            model,
            codec=codec,
            crf=crf,
            max_pixels=max_pixels,
            progress=progress,
            note=note,
        )
        _check_free(goal, overwrite)  # it may have come into being meanwhile
    return summary


def _check_free(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, and the target must be a file")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists, and overwrite is not set")


def enlarge_file(
    source: Path,
    target: Path,
    model: FusedSRCNN,
    *,
    codec: str | None = None,
    crf: int | None = None,
    max_pixels: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> VideoSummary:
    """upscale_video without its checks, into a file that may be left unfinished."""
    scale = check_model(model)
    total = scan_video(source)
    done = 0
    with VideoReader(source, max_pixels=max_pixels) as reader:
        with VideoWriter(target, reader, scale, frames=total, codec=codec, crf=crf) as writer:
            told: list[str] = []

            def enlarge(item: Item) -> Item:
                nonlocal done
                if not item.planes:
                    return item
                planes = enlarge_planes(item.planes, model, reader.layout)
                done += 1
                if progress is not None:
                    progress(done, total)
                return replace(item, planes=planes, holder=None)

            def tell() -> None:
                for line in (*writer.notices, *reader.notices):
                    if note is not None and line not in told:
                        told.append(line)
                        note(line)

            tell()
            run_stages(reader.items(), enlarge, writer.write)
            tell()
            if done < total and not reader.interlaced and note is not None:
                note(f"{total - done} of the {total} packets of its video gave no frame")
        return VideoSummary(writer.width, writer.height, done, writer.encoder)
