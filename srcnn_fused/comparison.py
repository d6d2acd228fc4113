"""Side-by-side pictures of an evaluation: bicubic | SRCNN | truth, with their PSNR."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ._files import replacing
from .errors import UserError
from .evaluate import Sample, Scores, to_rgb

__all__ = ["comparison_sheet", "write_comparison"]

_GAP = 8
_TEXT_SIZE = 16
_STRIP = _TEXT_SIZE + 10  # height of the captions above the pictures


def comparison_sheet(sample: Sample, output: Tensor, scores: dict[str, Scores]) -> Image.Image:
    """One picture of three panels, each under its caption.

    Args:
        sample: the image; panels are in its colours, with bicubic chroma where only luma is made.
        output: what the network made of it, uint8 [1 or 3, H, W].
        scores: of this image, as in :class:`srcnn_fused.evaluate.Report`.
    """
    before, after = to_rgb(sample.enlarged[None], sample), to_rgb(output, sample)
    panels = [
        (_caption("bicubic", scores["bicubic"]), to_pillow(before)),
        (_caption("SRCNN", scores["srcnn"]), to_pillow(after)),
        ("truth", to_pillow(sample.image)),
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


def write_comparison(path: Path, sample: Sample, output: Tensor, scores: dict[str, Scores]) -> None:
    """Write :func:`comparison_sheet` to ``path``. Raises UserError if that fails."""
    sheet = comparison_sheet(sample, output, scores)
    try:
        with replacing(path) as temporary:
            sheet.save(temporary)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _caption(method: str, scores: Scores) -> str:
    psnr = scores["psnr"]
    return method if psnr is None else f"{method}  {psnr:.2f} dB"


def to_pillow(image: Tensor) -> Image.Image:
    """uint8 [1 or 3, H, W] -> RGB picture."""
    return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy().copy(), "RGB")
