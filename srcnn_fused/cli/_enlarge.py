"""One job of `upscale`: a picture or a video, read, enlarged and written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import imaging, upscale
from .._files import replacing
from ..errors import UserError
from ..imaging import WRITABLE, Encoding, open_writer
from ..modules import FusedSRCNN
from ..video import files
from ..video._av import import_av
from ..video.planes import check_model
from ..video.suffixes import is_video
from ._plan import Job
from ._targets import check_target
from ._upscale_progress import UpscaleProgress

__all__ = ["Settings", "enlarge"]


@dataclass(frozen=True)
class Settings:
    """What the command line says about all files.

    Attributes:
        quality: of JPEG and WebP.
        codec, crf: of videos; None: the container's usual encoder, and our default.
        max_pixels: of an input picture, or of a frame.
        overwrite: whether outputs that exist are replaced.
    """

    quality: int
    codec: str | None
    crf: int | None
    max_pixels: int
    overwrite: bool


def enlarge(job: Job, network: FusedSRCNN, progress: UpscaleProgress, settings: Settings) -> None:
    """One file. Raises UserError, with nothing left behind, whatever goes wrong with it."""
    check_target(job.target, overwrite=settings.overwrite)
    progress.start(job)
    kind = _enlarge_video if is_video(job.source) else _enlarge_picture
    kind(job, network, progress, settings)


@contextlib.contextmanager
def _writing(job: Job, *, overwrite: bool) -> Iterator[Path]:
    """A temporary file that becomes the target, and errors as lines that name a file."""
    source, target = job.source, job.target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            yield temporary
            check_target(target, overwrite=overwrite)  # it may have come into being meanwhile
    except UserError as error:
        line = str(error)
        named = str(target) in line or line.startswith(str(source))
        raise UserError(line if named else f"{source}: {line}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{target}: cannot be written: {reason}; nothing was changed") from None
    except MemoryError:
        raise UserError(f"{source}: not enough memory to enlarge it") from None
    except RuntimeError as error:  # torch, above all when a GPU's memory is full
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{source}: {line}") from None


def _enlarge_picture(
    job: Job, network: FusedSRCNN, progress: UpscaleProgress, settings: Settings
) -> None:
    source = job.source
    begun = time.monotonic()
    picture = imaging.read_picture(source, max_pixels=settings.max_pixels)
    for notice in picture.notices:
        progress.note(f"{source}: {notice}")
    kind = WRITABLE[job.target.suffix.lower()]
    pixels, alpha = picture.pixels, picture.alpha
    if alpha and kind == "JPEG" and pixels[..., -1].min() == np.iinfo(pixels.dtype).max:
        pixels, alpha = pixels[..., :-1], False
    depth = pixels.dtype
    if depth == np.uint16 and kind in ("JPEG", "WEBP"):
        depth = np.dtype(np.uint8)
        progress.note(f"{source}: {kind} holds 8 bits a channel; 16 are reduced to 8")
    factor = network.scale or 1
    height, width, channels = pixels.shape
    encoding = Encoding(
        kind,
        width * factor,
        height * factor,
        channels,
        depth,
        settings.quality,
        picture.exif,
        picture.icc,
        picture.dpi,
    )
    with _writing(job, overwrite=settings.overwrite) as temporary:
        for notice in encoding.check():
            progress.note(f"{source}: {notice}")
        with open_writer(temporary, encoding) as writer:
            for _, band in upscale.upscale_bands(pixels, network, alpha=alpha, dtype=depth):
                writer.put(band)
                progress.advance(band.shape[0] * band.shape[1])
    progress.finish(job, encoding.width, encoding.height, time.monotonic() - begun)


def _enlarge_video(
    job: Job, network: FusedSRCNN, progress: UpscaleProgress, settings: Settings
) -> None:
    source = job.source
    begun = time.monotonic()
    try:
        check_model(network)
        import_av()
    except (ValueError, ImportError) as error:
        raise UserError(f"{source}: {error}") from None
    with _writing(job, overwrite=settings.overwrite) as temporary:
        done = files.enlarge_file(
            source,
            temporary,
            network,
            codec=settings.codec,
            crf=settings.crf,
            max_pixels=settings.max_pixels,
            progress=progress.advance_video,
            note=lambda line: progress.note(f"{source}: {line}"),
        )
    seconds = time.monotonic() - begun
    progress.finish(job, done.width, done.height, seconds, frames=done.frames)
