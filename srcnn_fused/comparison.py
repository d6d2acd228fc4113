"""Side-by-side pictures of an evaluation: bicubic | SRCNN | truth, with their PSNR."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import colour, reference
from ._files import replacing
from .data import shrink
from .errors import UserError
from .evaluate import Sample, Scores, to_8_bits

__all__ = ["comparison_sheet", "write_comparison"]

_GAP = 8
_TEXT_SIZE = 16
_STRIP = _TEXT_SIZE + 10  # height of the captions above the pictures


def comparison_sheet(
    sample: Sample, output: Tensor, scores: dict[str, Scores], *, scale: int, bicubic: str
) -> Image.Image:
    """One picture of three panels, each under its caption.

    Args:
        sample: the image; panels are in its colours, with bicubic chroma in the first two.
        output: the network's luma, uint8 [H, W].
        scores: of this image, as in :class:`srcnn_fused.evaluate.Report`.
        scale, bicubic: as in the evaluation, for the chroma.
    """
    before = _coloured(sample, sample.enlarged, scale, bicubic)
    after = _coloured(sample, output, scale, bicubic)
    panels = [
        (_caption("bicubic", scores["bicubic"]), before),
        (_caption("SRCNN", scores["srcnn"]), after),
        ("truth", _to_pillow(sample.image)),
    ]
    font = ImageFont.load_default(_TEXT_SIZE)
    # A thumbnail is narrower than its caption.
    widest = max(panel.width for _, panel in panels)
    widest = max(widest, *(int(font.getlength(caption)) + 1 for caption, _ in panels))
    height = panels[0][1].height
    sheet = Image.new("RGB", (3 * widest + 2 * _GAP, height + _STRIP), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, panel) in enumerate(panels):
        left = index * (widest + _GAP)
        draw.text((left + widest // 2, _STRIP // 2), caption, "black", font=font, anchor="mm")
        sheet.paste(panel, (left + (widest - panel.width) // 2, _STRIP))
    return sheet


def write_comparison(
    path: Path,
    sample: Sample,
    output: Tensor,
    scores: dict[str, Scores],
    *,
    scale: int,
    bicubic: str,
) -> None:
    """Write :func:`comparison_sheet` to ``path``. Raises UserError if that fails."""
    sheet = comparison_sheet(sample, output, scores, scale=scale, bicubic=bicubic)
    try:
        with replacing(path) as temporary:
            sheet.save(temporary)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _caption(method: str, scores: Scores) -> str:
    psnr = scores["psnr"]
    return method if psnr is None else f"{method}  {psnr:.2f} dB"


def _coloured(sample: Sample, luma: Tensor, scale: int, bicubic: str) -> Image.Image:
    """A luma in the image's colours, after these too were shrunk and enlarged."""
    if sample.image.shape[0] == 1:
        return _to_pillow(luma[None])
    low = colour.rgb_to_ycbcr(shrink(sample.image, scale, bicubic))
    chroma = reference.bicubic_resize(low[1:], scale=scale, convention=bicubic)
    ycbcr = torch.cat([luma[None].to(torch.float64) / 255, chroma])
    return _to_pillow(to_8_bits(colour.ycbcr_to_rgb(ycbcr)))


def _to_pillow(image: Tensor) -> Image.Image:
    """uint8 [1 or 3, H, W] -> RGB picture."""
    return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy().copy(), "RGB")
