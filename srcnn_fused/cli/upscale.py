"""`srcnn-fused upscale`: image and video files enlarged by a network."""

from __future__ import annotations

import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Backend, Device, Model, Scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from ._plan import Job


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Image and video files, folders, or patterns such as 'photos/*.jpg'.",
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
            metavar="png|jpg|webp|tif|mp4|mkv|...",
            help="Kind of the outputs, of pictures or of videos. Default: that of the input.",
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of JPEG and WebP; WebP at 100 is lossless.")
    ] = 95,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of videos: libx264, libx265, libsvtav1, libvpx-vp9, ffv1 (lossless), or another "
            "encoder of FFmpeg's. Default: libx264, in webm libvpx-vp9.",
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=63,
            help="Of videos, 0 is best. Default: 16 with libx264, 18 with libx265, "
            "20 with libsvtav1 and libvpx-vp9.",
        ),
    ] = None,
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
    """Enlarge images by a network and write them as PNG, JPEG, WebP or TIFF; and videos.

    A one-channel model makes the luma (MATLAB's, which it was trained on), bicubic the chroma; a
    three-channel model takes RGB whole. Alpha is enlarged by bicubic. 16-bit PNG and TIFF stay 16
    bits. The EXIF orientation is applied; EXIF and ICC profile are kept. Of an animation, the first
    frame is enlarged; CMYK becomes sRGB.

    No file is overwritten unasked. A file that fails is reported, the others go on, and the exit
    status is 1.
    """
    from ..errors import UserError
    from ..imaging import MAX_PIXELS
    from ._enlarge import Settings, enlarge
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
    _check_encoder(plan.jobs, codec, crf)
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    settings = Settings(quality, codec, crf, limit, overwrite)
    with _cleaning_up(), UpscaleProgress(plan.jobs, network.scale or 1, quiet=quiet) as progress:
        if plan.left_out:
            names = ", ".join(map(str, plan.left_out))
            progress.note(f"left out, being outputs of other inputs: {names}")

        def run(job: Job) -> bool:
            try:
                if skip_existing and job.target.is_file():
                    progress.skip(job)
                else:
                    enlarge(job, network, progress, settings)
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


def _check_encoder(jobs: Sequence[Job], codec: str | None, crf: int | None) -> None:
    """Say once, and at once, what would be wrong with every video."""
    from ..video.codecs import check_encoder
    from ..video.suffixes import is_video

    if codec is not None and any(is_video(job.source) for job in jobs):
        with suppress(ImportError):  # PyAV is missing, as each of them will say
            check_encoder(codec, crf)


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
