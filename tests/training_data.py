"""Pictures and a recipe of seconds, for the tests of training."""

from pathlib import Path

import numpy as np
from PIL import Image

from srcnn_fused.train import Monitor, TrainConfig


def edges(seed, size=48):
    """Overlapping discs: what bicubic blurs, and a network soon learns to sharpen."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: 4 * size, : 4 * size] / 4
    image = np.full((4 * size, 4 * size), 128.0)
    for _ in range(12):
        row, column, radius = (
            random.uniform(0, size),
            random.uniform(0, size),
            random.uniform(3, 14),
        )
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        image[disc] = random.integers(256)
    return image.reshape(size, 4, size, 4).mean((1, 3)).round().astype(np.uint8)


def coloured_edges(seed, size=48):
    """The same in RGB, each channel with discs of its own, over those that all share."""
    shared = edges(seed, size).astype(np.float64)
    own = [edges(100 * seed + channel, size) for channel in (1, 2, 3)]
    return np.stack([0.6 * shared + 0.4 * plane for plane in own], -1).round().astype(np.uint8)


def short_recipe(folder: Path, draw=edges) -> TrainConfig:
    """A recipe of seconds, on four images and one for validation that it writes to ``folder``."""
    for name, seeds in (("data", range(4)), ("val", [9])):
        (folder / name).mkdir()
        for seed in seeds:
            Image.fromarray(draw(seed)).save(folder / name / f"{seed}.png")
    return TrainConfig(
        data=(str(folder / "data"),),
        val=str(folder / "val"),
        out=str(folder / "run"),
        scale=2,
        iterations=40,
        batch=4,
        crop=12,
        lr_last=1e-3,
        validate_every=10,
        checkpoint_every=10,
    )


class Recorder(Monitor):
    """Remembers what it was told."""

    def __init__(self):
        self.steps = []
        self.psnr = {}

    def stepped(self, iteration, loss):
        self.steps.append((iteration, loss))

    def validated(self, iteration, psnr, best):
        self.psnr[iteration] = psnr
