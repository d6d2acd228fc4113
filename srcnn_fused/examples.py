"""Enlarged details of a test set's images: bicubic | each network | truth, with their PSNR.

The detail is chosen without looking at any network: where bicubic is furthest from the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .comparison import to_pillow
from .evaluate import Sample, Scores, to_rgb

__all__ = ["Example", "Panel", "draw_examples", "make_example", "typical_and_best"]

_BLOCK = 8  # steps of the search for the detail
_SIDE = 9 * _BLOCK  # of the detail
_REACH = 6  # low-resolution pixels around it that its bicubic chroma depends on, and some to spare
_ZOOM = 3
_MARGIN, _GAP, _ROW_GAP = 16, 8, 14
_TITLE_SIZE, _TEXT_SIZE = 16, 14
_LINE = _TEXT_SIZE + 8
_PAPER, _INK, _FAINT = "#ffffff", "#1d2327", "#66717a"


@dataclass(frozen=True)
class Panel:
    """The detail by one method: uint8 [1 or 3, h, w], and the PSNR of the whole image."""

    method: str
    psnr: float | None
    pixels: Tensor


@dataclass(frozen=True)
class Example:
    """One image's row of panels; ``gain``: dB that the networks bring over bicubic, on average."""

    title: str
    gain: float
    panels: list[Panel]


def make_example(
    data: str, sample: Sample, outputs: Mapping[str, Tensor], scores: Mapping[str, Scores]
) -> Example:
    """The detail of one image.

    Args:
        data: the test set's name.
        sample: the image.
        outputs: by method, bicubic first: uint8 [1 or 3, H, W].
        scores: by method, of the whole image.
    """
    top, left, side = _worst_window(sample)
    rows = _surroundings(top, side, sample.truth.shape[0], sample.scale)
    columns = _surroundings(left, side, sample.truth.shape[1], sample.scale)
    around = (..., rows, columns)
    part = replace(sample, image=sample.image[around], truth=sample.truth[around])
    detail = (
        ...,
        slice(top - rows.start, top - rows.start + side),
        slice(left - columns.start, left - columns.start + side),
    )
    panels = [
        Panel(method, scores[method]["psnr"], to_rgb(output[around], part)[detail].clone())
        for method, output in outputs.items()
    ]
    panels.append(Panel("truth", None, part.image[detail].clone()))
    first, *rest = (panel.psnr or 0.0 for panel in panels[:-1])
    title = f"{data}, {sample.name} x{sample.scale}"
    return Example(title, sum(rest) / len(rest) - first, panels)


def _surroundings(start: int, side: int, length: int, scale: int) -> slice:
    """The detail's extent along one axis and what its colours depend on, in whole LR pixels."""
    low = max(0, start // scale - _REACH) * scale
    high = min(length, (-(-(start + side) // scale) + _REACH) * scale)
    return slice(low, high)


def _worst_window(sample: Sample) -> tuple[int, int, int]:
    """Top, left and side of the square in which bicubic's squared error is largest."""
    height, width = sample.truth.shape
    if min(height, width) < _SIDE:
        return 0, 0, min(height, width)
    error = (sample.enlarged.double() - sample.truth.double()).square()
    blocks = F.avg_pool2d(error[None, None], _BLOCK)
    sums = F.avg_pool2d(blocks, _SIDE // _BLOCK, stride=1)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return row * _BLOCK, column * _BLOCK, _SIDE


def typical_and_best(examples: Sequence[Example]) -> list[Example]:
    """The image with the median gain and the one with the largest; one where they are the same."""
    ranked = sorted(examples, key=lambda example: example.gain)
    if not ranked:
        return []
    typical, best = ranked[(len(ranked) - 1) // 2], ranked[-1]
    return [typical] if typical is best else [typical, best]


def draw_examples(examples: Sequence[Example]) -> Image.Image:
    """One row an example: its title, its panels enlarged by whole pixels, and their captions."""
    title_font, font = (ImageFont.load_default(size) for size in (_TITLE_SIZE, _TEXT_SIZE))
    side = _SIDE * _ZOOM
    columns = max((len(example.panels) for example in examples), default=1)
    row_height = _LINE + side + _LINE + _ROW_GAP
    width = 2 * _MARGIN + columns * side + (columns - 1) * _GAP
    height = 2 * _MARGIN - _ROW_GAP + max(len(examples), 1) * row_height
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, example in enumerate(examples):
        top = _MARGIN + row * row_height
        draw.text((_MARGIN, top + _LINE - 6), example.title, _INK, font=title_font, anchor="ls")
        for column, panel in enumerate(example.panels):
            left = _MARGIN + column * (side + _GAP)
            sheet.paste(to_pillow(_enlarge(panel.pixels)), (left, top + _LINE))
            baseline = top + _LINE + side + _LINE - 6
            draw.text((left, baseline), panel.method, _INK, font=font, anchor="ls")
            if panel.psnr is not None:
                text = f"{panel.psnr:.2f} dB"
                draw.text((left + side, baseline), text, _FAINT, font=font, anchor="rs")
    return sheet


def _enlarge(pixels: Tensor) -> Tensor:
    """Blocks of pixels: uint8 [c, h, w], at most as large as the detail, to a panel's size."""
    zoomed = pixels.repeat_interleave(_ZOOM, -1).repeat_interleave(_ZOOM, -2)
    if zoomed.shape[-1] == _SIDE * _ZOOM:
        return zoomed
    panel = torch.full((zoomed.shape[0], _SIDE * _ZOOM, _SIDE * _ZOOM), 255, dtype=torch.uint8)
    panel[:, : zoomed.shape[1], : zoomed.shape[2]] = zoomed
    return panel
