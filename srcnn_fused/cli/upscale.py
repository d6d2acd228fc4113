"""`srcnn-fused upscale`: image files enlarged by a network."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Backend, Device, Model, Scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from ..modules import FusedSRCNN
    from ._plan import Job
    from ._upscale_progress import UpscaleProgress


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Image files, folders, or patterns such as 'photos/*.jpg'."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A file (one input) or a folder. Default: beside the input, named by --suffix.",
        ),
    ] = None,
    scale: Scale = None,
    model: Model = "9-1-5",
    device: Device = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="float32|float64|float16|bfloat16", help="What the network computes in."
        ),
    ] = "float32",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Also search the folders in a folder.")
    ] = False,
    suffix: Annotated[
        str | None, typer.Option(help="Goes behind the name of an output. Default: _x3 at scale 3.")
    ] = None,
    ext: Annotated[
        str | None,
        typer.Option(
            metavar="png|jpg|webp|tif", help="Kind of the outputs. Default: that of the input."
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of JPEG and WebP; WebP at 100 is lossless.")
    ] = 95,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave outputs that exist, and go on.")
    ] = False,
    max_pixels: Annotated[
        int | None,
        typer.Option(min=1, help="Refuse larger inputs. Default: 178956970, Pillow's bomb limit."),
    ] = None,
    backend: Backend = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Enlarge images by a network and write them as PNG, JPEG, WebP or TIFF.

    A one-channel model makes the luma (MATLAB's, which it was trained on), bicubic the chroma; a
    three-channel model takes RGB whole. Alpha is enlarged by bicubic. 16-bit PNG and TIFF stay 16
    bits. The EXIF orientation is applied; EXIF and ICC profile are kept. Of an animation, the first
    frame is enlarged; CMYK becomes sRGB.

    No file is overwritten unasked. A file that fails is reported, the others go on, and the exit
    status is 1.
    """
    from ..errors import UserError
    from ..imaging import MAX_PIXELS
    from ._heap import return_large_blocks
    from ._load_model import load_model
    from ._messages import describe, say, show_traceback
    from ._plan import make_plan
    from ._upscale_progress import UpscaleProgress

    if overwrite and skip_existing:
        raise UserError("--overwrite and --skip-existing contradict each other")
    return_large_blocks()
    network = load_model(model, scale, device=device, dtype=dtype, backend=backend)
    plan = make_plan(
        inputs,
        output,
        suffix=f"_x{network.scale}" if suffix is None else suffix,
        ext=ext,
        recursive=recursive,
        overwrite=overwrite,
    )
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    with _cleaning_up(), UpscaleProgress(plan.jobs, network.scale or 1, quiet=quiet) as progress:
        if plan.left_out:
            names = ", ".join(map(str, plan.left_out))
            progress.note(f"left out, being outputs of other inputs: {names}")

        def run(job: Job) -> bool:
            try:
                if skip_existing and job.target.is_file():
                    progress.skip(job)
                else:
                    _enlarge(job, network, progress, quality, limit, overwrite=overwrite)
            except UserError as error:
                progress.fail(job, str(error))
                return False
            except Exception as error:  # one file must not cost the others
                show_traceback(error)
                progress.fail(job, f"{job.source}: {describe(error)}")
                return False
            return True

        failed = [str(job.source) for job in plan.jobs if not run(job)]
    if failed and len(plan.jobs) > 1:
        line = f"{len(failed)} of {len(plan.jobs)} files failed: {', '.join(failed)}"
        say(line)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _cleaning_up() -> Iterator[None]:
    """Lets SIGTERM end the program as Ctrl-C does: without leaving unfinished files."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _enlarge(
    job: Job,
    network: FusedSRCNN,
    progress: UpscaleProgress,
    quality: int,
    max_pixels: int,
    *,
    overwrite: bool,
) -> None:
    """One file. Raises UserError, with nothing left behind, whatever goes wrong with it."""
    import numpy as np

    from .._files import replacing
    from ..errors import UserError
    from ..imaging import WRITABLE, Encoding, open_writer, read_picture
    from ..upscale import upscale_bands
    from ._targets import check_target

    source, target = job.source, job.target
    check_target(target, overwrite=overwrite)
    progress.start(job)
    begun = time.monotonic()
    picture = read_picture(source, max_pixels=max_pixels)
    for notice in picture.notices:
        progress.note(f"{source}: {notice}")
    kind = WRITABLE[target.suffix.lower()]
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
        quality,
        picture.exif,
        picture.icc,
        picture.dpi,
    )
    try:
        for notice in encoding.check():
            progress.note(f"{source}: {notice}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            with open_writer(temporary, encoding) as writer:
                for _, band in upscale_bands(pixels, network, alpha=alpha, dtype=depth):
                    writer.put(band)
                    progress.advance(band.shape[0] * band.shape[1])
            check_target(target, overwrite=overwrite)  # it may have come into being meanwhile
    except UserError as error:
        line = str(error)
        raise UserError(line if str(target) in line else f"{source}: {line}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{target}: cannot be written: {reason}; nothing was changed") from None
    except MemoryError:
        raise UserError(f"{source}: not enough memory to enlarge it") from None
    except RuntimeError as error:  # torch, above all when a GPU's memory is full
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{source}: {line}") from None
    progress.finish(job, encoding.width, encoding.height, time.monotonic() - begun)
