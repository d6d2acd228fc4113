"""`srcnn-fused demo`: a picture made on the spot, shrunk, and enlarged by bicubic and by SRCNN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Model, Scale

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from ..modules import FusedSRCNN

    Pixels8 = npt.NDArray[np.uint8]  # [H, W, 3]

_SIDE = 480  # of the picture; a multiple of 2, 3 and 4
_SCALES = (2, 8)  # above, hardly a pixel is left of the parts that are shown enlarged
_ZOOM = 4
_CROP = (276, 88)  # left and top of the part that is shown enlarged, side _SIDE / _ZOOM
_MARGIN, _GAP = 28, 18
_TITLE_SIZE, _TEXT_SIZE = 26, 21
_PAPER, _INK, _FAINT, _FRAME = "#ffffff", "#1d2327", "#66717a", "#ffffff"


@dataclass(frozen=True)
class Panel:
    """One column of the sheet."""

    title: str
    detail: str
    pixels: Pixels8


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The sheet, a PNG file.")
    ] = Path("srcnn-fused-demo.png"),
    scale: Scale = None,
    model: Model = "9-1-5",
    device: Device = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the sheet if it exists.")
    ] = False,
) -> None:
    """Make a picture, shrink it, enlarge it by bicubic and by SRCNN, and write all side by side.

    The scale may be 2 to 8. PSNR is that of the luma, as in the papers.
    """
    from .._files import replacing
    from ..errors import UserError
    from ._load_model import load_model
    from ._targets import check_folder_of, check_target

    if output.suffix.lower() != ".png":
        raise UserError(f"-o {output}: the sheet is a PNG file, its name must end in .png")
    check_target(output, overwrite=overwrite, option="-o")
    check_folder_of(output, option="-o")
    _check_scale(scale)
    network = load_model(model, scale, device=device)
    _check_scale(network.scale)
    panels = make_panels(network)
    sheet = draw_sheet(panels)
    try:
        with replacing(output) as temporary:
            sheet.save(temporary, format="PNG", optimize=True)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror or error}") from None
    for panel in panels:
        typer.echo(f"{panel.title:<16} {panel.detail}")
    typer.echo(f"written to {output}")


def _check_scale(scale: int | None) -> None:
    from ..errors import UserError

    if scale is not None and not _SCALES[0] <= scale <= _SCALES[1]:
        raise UserError(f"--scale must be from {_SCALES[0]} to {_SCALES[1]} here, got {scale}")


def make_panels(network: FusedSRCNN) -> list[Panel]:
    """Low resolution, bicubic, SRCNN and original, the first one as blocks of ``scale`` pixels."""
    import numpy as np
    import torch

    from .. import colour, metrics
    from .._demo_picture import paint
    from ..functional import bicubic_resize
    from ..upscale import upscale_pixels

    scale = network.scale or 1
    side = _SIDE - _SIDE % scale
    truth = paint(_SIDE)[:side, :side]

    def resize(pixels: Pixels8, size: int) -> Pixels8:
        planar = torch.from_numpy(pixels).permute(2, 0, 1)
        return bicubic_resize(planar, size=(size, size)).permute(1, 2, 0).contiguous().numpy()

    def luma(pixels: Pixels8) -> torch.Tensor:
        inner = pixels[scale : side - scale, scale : side - scale]
        return colour.luma(torch.from_numpy(inner).permute(2, 0, 1))

    low = resize(truth, side // scale)
    bicubic = resize(low, side)
    enlarged = upscale_pixels(low, network).astype(np.uint8, copy=False)

    def decibels(pixels: Pixels8) -> str:
        return f"{metrics.psnr(luma(pixels), luma(truth)):.2f} dB"

    sizes = "-".join(map(str, network.kernel_sizes))
    kind = " RGB" if network.num_channels == 3 else ""
    return [
        Panel("low resolution", f"{low.shape[1]}x{low.shape[0]}", _blocks(low, scale)),
        Panel(f"bicubic x{scale}", decibels(bicubic), bicubic),
        Panel(f"SRCNN {sizes}{kind} x{scale}", decibels(enlarged), enlarged),
        Panel("original", f"{side}x{side}", truth),
    ]


def _blocks(pixels: Pixels8, factor: int) -> Pixels8:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def draw_sheet(panels: list[Panel]) -> Image.Image:
    """Panels side by side, each above an enlarged part of itself and below its captions."""
    from PIL import Image, ImageDraw, ImageFont

    side = panels[0].pixels.shape[0]
    window = side // _ZOOM
    captions = _TITLE_SIZE + 14
    width = 2 * _MARGIN + len(panels) * side + (len(panels) - 1) * _GAP
    height = 2 * _MARGIN + captions + 2 * side + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title_font, text_font = (ImageFont.load_default(size) for size in (_TITLE_SIZE, _TEXT_SIZE))
    left, top = _CROP
    for index, panel in enumerate(panels):
        x, y = _MARGIN + index * (side + _GAP), _MARGIN + captions
        baseline = y - 14
        draw.text((x, baseline), panel.title, _INK, font=title_font, anchor="ls")
        draw.text((x + side, baseline), panel.detail, _FAINT, font=text_font, anchor="rs")
        sheet.paste(Image.fromarray(panel.pixels), (x, y))
        draw.rectangle(
            (x + left - 1, y + top - 1, x + left + window, y + top + window), outline=_FRAME
        )
        part = panel.pixels[top : top + window, left : left + window]
        sheet.paste(Image.fromarray(_blocks(part, _ZOOM)), (x, y + side + _GAP))
    return sheet
