"""The papers' evaluation of a network on a folder of images.

The protocol (TPAMI 2016, section 4, and the authors' test code), per image: luma of the 8-bit image
rounded to 8 bits (MATLAB's rgb2ycbcr), cropped to a multiple of the scale; shrunk and enlarged by
bicubic in floating point; network; rounded and clipped to 8 bits; ``border`` pixels (the scale)
shaved off each side; PSNR, SSIM and MS-SSIM against the luma of the image. Bicubic on Set5 then
gives 33.66 / 30.39 / 28.42 dB at x2 / x3 / x4. docs/evaluation.md goes through it step by step.

Colour (TPAMI, section 4.5) is measured on 8-bit Y'CbCr: what a network does not make, bicubic
enlarges. A network of three channels takes and gives R'G'B', whose luma is measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import colour, metrics, reference
from .data import crop_to_multiple, list_images, luma8, read_image, shrink
from .errors import UserError
from .modules import FusedSRCNN

__all__ = [
    "Report",
    "Sample",
    "Scores",
    "enlarge",
    "evaluate",
    "load_samples",
    "mean_psnr",
    "prepare",
    "restore",
    "to_rgb",
]

METRICS = ("psnr", "ssim", "ms_ssim")
# "psnr" is that of Y'. "psnr_ycbcr", over the three channels together, is what table 5 of TPAMI
# calls the PSNR of the "RGB color image" (bicubic's 34.57 dB is met so, and only so); "psnr_rgb" is
# that of R'G'B' itself.
COLOUR_METRICS = ("psnr_cb", "psnr_cr", "psnr_ycbcr", "psnr_rgb")
# None: this metric does not exist for this image (too small for MS-SSIM, or a grey one's colour).
Scores = dict[str, float | None]


@dataclass(frozen=True)
class Sample:
    """One image of a test set, ready for the network.

    Attributes:
        image: the 8-bit image, cropped: uint8 [1 or 3, H, W].
        truth: its luma, uint8 [H, W].
        low: the network's input, float32 [1, c, h, w] in [0, 1].
        enlarged: the bicubic result, luma, uint8 [H, W].
        scale, bicubic: how it was shrunk.
    """

    name: str
    image: Tensor
    truth: Tensor
    low: Tensor
    enlarged: Tensor
    scale: int
    bicubic: str


@dataclass
class Report:
    """All scores of one run; :meth:`to_json` is the file that ``--json`` writes."""

    dataset: str
    scale: int
    model: str
    images: dict[str, dict[str, Scores]] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Keys of the scores: METRICS, and COLOUR_METRICS where colour was measured."""
        for scores in self.images.values():
            return list(scores["srcnn"])
        return list(METRICS)

    @property
    def mean(self) -> dict[str, Scores]:
        """Per method and metric: the mean over the images that have it."""
        return {
            method: mean_scores([scores[method] for scores in self.images.values()])
            for method in ("bicubic", "srcnn")
        }

    def to_json(self) -> str:
        """``{"dataset", "scale", "model", "images": {name: {"bicubic", "srcnn"}}, "mean"}``.

        A metric that does not exist, and the infinite PSNR of equal images (for which JSON has no
        number), is null.
        """
        content = {
            "dataset": self.dataset,
            "scale": self.scale,
            "model": self.model,
            "images": self.images,
            "mean": self.mean,
        }
        return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def mean_scores(images: Sequence[Scores]) -> Scores:
    """Per metric: the mean over the images that have it; None where none has."""
    result: Scores = {}
    for metric in images[0] if images else METRICS:
        known = [value for scores in images if (value := scores[metric]) is not None]
        result[metric] = math.fsum(known) / len(known) if known else None
    return result


def finite(value: Any) -> Any:
    """The same with None for what JSON has no number for, in dicts and lists too."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def prepare(
    name: str, image: Tensor, scale: int, *, bicubic: str = "matlab", num_channels: int = 1
) -> Sample:
    """Crop, take the luma, shrink and enlarge: everything that comes before the network.

    Args:
        name: what messages call the image.
        image: uint8 [1 or 3, H, W], as :func:`srcnn_fused.data.read_image` gives it.
        scale: the enlargement to measure.
        bicubic: convention of both resamplings.
        num_channels: of the network: 1 takes luma, 3 takes RGB (a grey image three times).

    Raises:
        UserError: the image is smaller than ``scale``.
    """
    image = crop_to_multiple(image, scale)
    if image.numel() == 0:
        raise UserError(f"{name} is too small to be shrunk by {scale}")
    truth = luma8(image)
    down = shrink(truth, scale, bicubic)
    enlarged = reference.bicubic_resize(down, scale=scale, convention=bicubic)
    low = shrink(image, scale, bicubic).expand(3, -1, -1) if num_channels == 3 else down[None]
    low = low[None].to(torch.float32).contiguous()
    return Sample(name, image, truth, low, to_8_bits(enlarged), scale, bicubic)


def enlarge(model: FusedSRCNN, sample: Sample) -> Tensor:
    """Run the network: luma uint8 [1, H, W], or R'G'B' [3, H, W]. Scales must be the same."""
    weight = model.conv1.weight
    with torch.inference_mode():
        return to_8_bits(model(sample.low.to(weight.device, weight.dtype))[0]).cpu()


def restore(model: FusedSRCNN, sample: Sample) -> Tensor:
    """Run the network: its luma, uint8 [H, W]. ``model.scale`` must be the sample's scale."""
    return to_luma(enlarge(model, sample), sample)


def to_luma(output: Tensor, sample: Sample) -> Tensor:
    """What is measured of a result uint8 [1 or 3, H, W]: its luma, uint8 [H, W]."""
    if output.shape[0] == 1:
        return output[0]
    if sample.image.shape[0] == 1:  # the truth is the grey value itself, not its rgb2ycbcr luma
        return output.to(torch.float64).mean(0).round().to(torch.uint8)
    return colour.luma(output)[0]


def to_ycbcr(output: Tensor, sample: Sample) -> Tensor:
    """A result uint8 [1 or 3, H, W] of a colour image in Y'CbCr, uint8 [3, H, W].

    To luma comes the chroma of the 8-bit image, shrunk and enlarged by bicubic, as in the papers.
    """
    if output.shape[0] == 3:
        return colour.rgb_to_ycbcr(output)
    low = shrink(colour.rgb_to_ycbcr(sample.image)[1:], sample.scale, sample.bicubic)
    chroma = reference.bicubic_resize(low, scale=sample.scale, convention=sample.bicubic)
    return torch.cat([output, to_8_bits(chroma)])


def to_rgb(output: Tensor, sample: Sample) -> Tensor:
    """A result uint8 [1 or 3, H, W] as a picture: uint8 [3, H, W], or [1, H, W] of a grey image."""
    if sample.image.shape[0] == 1:
        return to_luma(output, sample)[None]
    return output if output.shape[0] == 3 else colour.ycbcr_to_rgb(to_ycbcr(output, sample))


def load_samples(
    folder: str | Path, scale: int, *, bicubic: str = "matlab", num_channels: int = 1
) -> list[Sample]:
    """All images of a folder, prepared. Errors as :func:`prepare` and ``data.read_image``."""
    files = list_images(folder)
    return [
        prepare(name, read_image(file), scale, bicubic=bicubic, num_channels=num_channels)
        for name, file in zip(image_names(files), files, strict=True)
    ]


def image_names(files: Sequence[Path]) -> list[str]:
    """The stem of each file, or its whole name where two files share a stem."""
    stems = [file.stem for file in files]
    return [file.stem if stems.count(file.stem) == 1 else file.name for file in files]


def mean_psnr(model: FusedSRCNN, samples: Sequence[Sample], border: int) -> float:
    """Mean PSNR of the network alone: what training watches."""
    values = [
        metrics.psnr(shave(restore(model, s), border, s.name), shave(s.truth, border, s.name))
        for s in samples
    ]
    return math.fsum(values) / len(values)


def evaluate(
    model: FusedSRCNN,
    folder: str | Path,
    *,
    name: str = "",
    bicubic: str = "matlab",
    border: int | None = None,
    colour: bool | None = None,
    on_image: Callable[[Sample, Tensor, dict[str, Scores]], None] | None = None,
) -> Report:
    """Measure bicubic and ``model`` on every image of ``folder``, one image in memory at a time.

    Args:
        model: with ``scale`` set: the enlargement that is measured.
        folder: of 8-bit images.
        name: what the report calls the model.
        bicubic: convention of the protocol's shrinking and of the bicubic it compares with (the
            network enlarges its own input by ``model.bicubic``).
        border: pixels shaved off each side; default: the scale.
        colour: whether to measure COLOUR_METRICS too; default: if the network has three channels.
        on_image: called after each image with (sample, what the network made of it, uint8
            [1 or 3, H, W], scores).

    Raises:
        UserError: the folder or an image cannot be read, or an image is smaller than the border.
        ValueError: ``model.scale`` is None.
    """
    if model.scale is None:
        raise ValueError("model must have a scale, got scale=None")
    scale = model.scale
    border = scale if border is None else border
    files = list_images(folder)
    num_channels = model.num_channels
    in_colour = num_channels == 3 if colour is None else colour
    report = Report(Path(folder).resolve().name, scale, name)
    for key, file in zip(image_names(files), files, strict=True):
        sample = prepare(key, read_image(file), scale, bicubic=bicubic, num_channels=num_channels)
        output = enlarge(model, sample)
        scores = {
            "bicubic": score(sample.enlarged[None], sample, border, colour=in_colour),
            "srcnn": score(output, sample, border, colour=in_colour),
        }
        report.images[key] = scores
        if on_image is not None:
            on_image(sample, output, scores)
    return report


def shave(image: Tensor, border: int, name: str) -> Tensor:
    """Drop ``border`` pixels off each side of [..., H, W]."""
    height, width = image.shape[-2:]
    if min(height, width) <= 2 * border:
        raise UserError(f"{name} is {width}x{height}: nothing is left inside a border of {border}")
    return image[..., border : height - border, border : width - border]


def to_8_bits(image: Tensor) -> Tensor:
    """Floating point in [0, 1] -> uint8, clipped and rounded half up (NaN counts as black)."""
    return (
        torch.nan_to_num(image.to(torch.float64))
        .mul(255)
        .add(0.5)
        .floor()
        .clamp(0, 255)
        .to(torch.uint8)
    )


def score(output: Tensor, sample: Sample, border: int, *, colour: bool = False) -> Scores:
    """METRICS of a result uint8 [1 or 3, H, W], and with ``colour`` COLOUR_METRICS."""

    def inside(image: Tensor) -> Tensor:
        return shave(image, border, sample.name)

    luma, truth = inside(to_luma(output, sample)), inside(sample.truth)
    side = min(truth.shape)
    scores: Scores = {
        "psnr": metrics.psnr(luma, truth),
        "ssim": metrics.ssim(luma, truth) if side >= metrics.SSIM_MIN_SIDE else None,
        "ms_ssim": metrics.ms_ssim(luma, truth) if side >= metrics.MS_SSIM_MIN_SIDE else None,
    }
    if colour:
        scores |= _colour_score(output, sample, inside)
    return scores


def _colour_score(output: Tensor, sample: Sample, inside: Callable[[Tensor], Tensor]) -> Scores:
    if sample.image.shape[0] == 1:
        return dict.fromkeys(COLOUR_METRICS)
    ycbcr, truth = inside(to_ycbcr(output, sample)), inside(colour.rgb_to_ycbcr(sample.image))
    return {
        "psnr_cb": metrics.psnr(ycbcr[1], truth[1]),
        "psnr_cr": metrics.psnr(ycbcr[2], truth[2]),
        "psnr_ycbcr": metrics.psnr(ycbcr, truth),
        "psnr_rgb": metrics.psnr(inside(to_rgb(output, sample)), inside(sample.image)),
    }
