"""Images for training and evaluation: files -> 8-bit pixels -> pairs (bicubic, truth) -> crops.

Training reads every image once, keeps its luma (or RGB) and the bicubic enlargement of its shrunken
copy in memory (5 bytes a pixel and channel), and cuts crops from those. Flips and rotations are
taken of the crops: the resampling is symmetric, so that equals flipping the image first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import colour, reference
from .errors import UserError
from .imaging import read_picture, read_size

__all__ = [
    "TrainingPair",
    "crop_to_multiple",
    "list_images",
    "load_pairs",
    "luma8",
    "orient",
    "read_image",
    "shrink",
]

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
# Of an image; its float64 copies take some 50 bytes a pixel. The size at which Pillow warns.
MAX_PIXELS = 89_478_485
# The rescaling augmentation of FSRCNN and VDSR.
RESCALE_FACTORS = (0.9, 0.8, 0.7, 0.6)


def list_images(folder: str | Path) -> list[Path]:
    """The image files of a folder (not of its subfolders), sorted by name.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: a folder of images is needed")
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder} has no image ({kinds})")
    return sorted(files)


def read_image(path: str | Path) -> Tensor:
    """One image in 8 bits: uint8 ``[1, H, W]`` (a grey file) or ``[3, H, W]`` (RGB).

    EXIF orientation is applied; alpha is dropped; 16 bits are rounded to 8; otherwise as
    :func:`srcnn_fused.imaging.read_picture` decodes it.

    Raises:
        UserError: the file is missing, damaged, too large or no image; the message names it.
    """
    path = Path(path)
    width, height = read_size(path)
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path}: {width}x{height} is {width * height} pixels, above the limit of {MAX_PIXELS}"
        )
    picture = read_picture(path)
    pixels = picture.pixels[..., :-1] if picture.alpha else picture.pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.int32) + 128) // 257).astype(np.uint8)
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))


def luma8(image: Tensor) -> Tensor:
    """uint8 ``[C, H, W]`` -> uint8 ``[H, W]``: MATLAB's luma; a grey image is taken as it is."""
    return image[0] if image.shape[0] == 1 else colour.luma(image)[0]


def crop_to_multiple(image: Tensor, scale: int) -> Tensor:
    """Cut the right and bottom edges of ``[..., H, W]`` so that ``scale`` divides both sides."""
    height, width = image.shape[-2:]
    return image[..., : height - height % scale, : width - width % scale]


def shrink(image: Tensor, scale: int, bicubic: str) -> Tensor:
    """The low-resolution image: uint8 [..., H, W] -> float64 [..., H / scale, W / scale] in [0, 1].

    Both sides must be multiples of ``scale``. Not rounded to 8 bits: as in the papers.
    """
    height, width = image.shape[-2:]
    size = (height // scale, width // scale)
    return reference.bicubic_resize(image.to(torch.float64) / 255, size=size, convention=bicubic)


@dataclass(frozen=True)
class TrainingPair:
    """One image: ``enlarged``, float32 [C, H, W] in [0, 1] (its bicubic copy); ``truth``, uint8.

    One channel is luma, three are RGB.
    """

    name: str
    enlarged: Tensor
    truth: Tensor


def load_pairs(
    folders: Sequence[str | Path],
    scale: int,
    *,
    bicubic: str = "matlab",
    num_channels: int = 1,
    rescale: bool = False,
    min_side: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[TrainingPair]:
    """Read all images of ``folders`` and make their training pairs.

    Args:
        folders: folders of images.
        scale: the enlargement to undo; images are cropped to a multiple of it.
        bicubic: convention of the shrinking and the enlarging.
        num_channels: 1 for luma, 3 for RGB (a grey image three times).
        rescale: add each image at 0.9, 0.8, 0.7 and 0.6 of its size.
        min_side: pairs with a shorter side than this are left out (they hold no crop).
        progress: called with (images read, images in all) after each image.

    Raises:
        UserError: as :func:`list_images` and :func:`read_image`, or all images are too small.
    """
    files = [file for folder in folders for file in list_images(folder)]
    pairs = []
    for index, file in enumerate(files):
        image = read_image(file)
        truth = image.expand(3, -1, -1) if num_channels == 3 else luma8(image)[None]
        for factor in (1.0, *RESCALE_FACTORS) if rescale else (1.0,):
            smaller = truth
            if factor != 1:
                smaller = reference.bicubic_resize(truth, scale=factor, convention="matlab")
            smaller = crop_to_multiple(smaller, scale).contiguous()
            if min(smaller.shape[1:]) < min_side:
                continue
            down = shrink(smaller, scale, bicubic)
            up = reference.bicubic_resize(down, scale=scale, convention=bicubic)
            pairs.append(TrainingPair(f"{file.name}@{factor}", up.to(torch.float32), smaller))
        if progress is not None:
            progress(index + 1, len(files))
    if not pairs:
        where = ", ".join(str(folder) for folder in folders)
        raise UserError(
            f"no image of {where} is large enough for a crop: {min_side}x{min_side} pixels needed"
        )
    return pairs


def orient(image: Tensor, orientation: int) -> Tensor:
    """One of the eight flips and quarter turns of ``[..., H, W]``; 0 leaves it as it is."""
    if orientation & 1:
        image = image.mT
    dims = [dim for dim, bit in ((-2, 2), (-1, 4)) if orientation & bit]
    return image.flip(dims) if dims else image
