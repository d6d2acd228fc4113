"""`srcnn-fused evaluate`: the papers' measurement of a model on a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Backend, Model

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from ..evaluate import Report, Sample, Scores

_METHODS = ("bicubic", "srcnn")
_LABELS = {"psnr": "PSNR", "ssim": "SSIM", "ms_ssim": "MS-SSIM"}
_COLOUR_LABELS = {
    "psnr_cb": "Cb",
    "psnr_cr": "Cr",
    "psnr_ycbcr": "YCbCr",
    "psnr_rgb": "RGB",
}


def evaluate(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of 8-bit images.")],
    scale: Annotated[
        int,
        typer.Option(
            "--scale",
            "-s",
            metavar="N",
            help="Enlargement to measure: any positive integer (shipped models: 2, 3, 4).",
        ),
    ],
    model: Model,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the scores here.")
    ] = None,
    border: Annotated[
        int | None, typer.Option(min=0, help="Pixels shaved off each side; default: the scale.")
    ] = None,
    bicubic: Annotated[
        str | None,
        typer.Option(
            metavar="matlab|pil|torch",
            help="Shrinking and enlarging; default: what the model was made for.",
        ),
    ] = None,
    padding_mode: Annotated[
        str | None,
        typer.Option(metavar="zeros|replicate", help="Borders; default: what the model says."),
    ] = None,
    backend: Backend = "auto",
    colour: Annotated[
        bool | None,
        typer.Option(
            "--colour/--luma",
            help="With or without PSNR of Cb, Cr, all of YCbCr, and RGB; default: with them for "
            "RGB models.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write bicubic | SRCNN | truth of each image here."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of --json and --save that exist.")
    ] = False,
) -> None:
    """Measure PSNR, SSIM and MS-SSIM of bicubic and of a network, by the papers' protocol.

    Luma of the 8-bit image, cropped to a multiple of the scale; bicubic down and up in floating
    point; network; rounded to 8 bits; border shaved off. Of an RGB model, the luma of its result.
    """
    from rich.console import Console

    from .._files import replacing
    from ..comparison import write_comparison
    from ..errors import UserError
    from ..evaluate import evaluate as run_evaluation
    from ._load_model import load_model

    _check_results(json, save, data, scale, overwrite=overwrite)
    network = load_model(
        model, scale, backend=backend, any_scale=True, bicubic=bicubic, padding_mode=padding_mode
    )
    if save is not None:
        try:
            save.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--save {save}: cannot be used: {error.strerror}") from None
    with Console(stderr=True).status("evaluating") as status:

        def on_image(sample: Sample, output: Tensor, scores: dict[str, Scores]) -> None:
            status.update(f"evaluated {sample.name}")
            if save is not None:
                path = _sheet(save, sample.name, scale)
                write_comparison(path, sample, output, scores)

        try:
            report = run_evaluation(
                network,
                data,
                name=model,
                bicubic=network.bicubic,
                border=border,
                colour=colour,
                on_image=on_image,
            )
        except RuntimeError as error:  # --backend fused where there is no kernel
            raise UserError(str(error)) from None
    _print(report, Console())
    if json is not None:
        try:
            with replacing(json) as temporary:
                temporary.write_text(report.to_json(), encoding="utf-8")
        except OSError as error:
            raise UserError(f"--json {json}: cannot be written: {error.strerror}") from None


def _check_results(
    json: Path | None, save: Path | None, data: Path, scale: int, *, overwrite: bool
) -> None:
    """Raises UserError for what would otherwise fail at the end of a long run."""
    from ..data import list_images
    from ..evaluate import image_names
    from ._targets import check_folder_of, check_target

    if json is not None:
        check_target(json, overwrite=overwrite, option="--json")
        check_folder_of(json, option="--json")
    if save is not None:
        for name in image_names(list_images(data)):
            check_target(_sheet(save, name, scale), overwrite=overwrite, option="--save")


def _sheet(folder: Path, name: str, scale: int) -> Path:
    return folder / f"{name}-x{scale}.png"


def _print(report: Report, console: Console) -> None:
    from ..metrics import MS_SSIM_MIN_SIDE

    title = f"{report.dataset} x{report.scale}, {report.model}"
    _print_table(report, title, _LABELS, console)
    small = [name for name, scores in report.images.items() if scores["srcnn"]["ms_ssim"] is None]
    if small:
        console.print(
            f"no MS-SSIM for images under {MS_SSIM_MIN_SIDE} pixels a side (border shaved): "
            + ", ".join(small),
            soft_wrap=True,
        )
    if "psnr_rgb" in report.metrics:
        _print_table(report, f"{title}: PSNR of colours", _COLOUR_LABELS, console)


def _print_table(report: Report, title: str, labels: dict[str, str], console: Console) -> None:
    from rich.table import Table

    def cells(scores: dict[str, Scores]) -> Iterator[str]:
        for metric in labels:
            digits = 2 if metric.startswith("psnr") else 4
            for method in _METHODS:
                value = scores[method][metric]
                yield "-" if value is None else f"{value:.{digits}f}"

    table = Table(title=title)
    table.add_column("image")
    for label in labels.values():
        table.add_column(f"{label}\nbicubic", justify="right")
        table.add_column(f"{label}\nSRCNN", justify="right")
    for name, scores in report.images.items():
        table.add_row(name, *cells(scores))
    table.add_section()
    table.add_row("mean", *cells(report.mean))
    console.print(table)
