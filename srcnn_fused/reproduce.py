"""The papers' results, measured again: models x test sets x scales, beside the published figures.

Every image is read once, and bicubic is measured once a scale, however many models there are. The
protocol is that of :mod:`srcnn_fused.evaluate`, by MATLAB's bicubic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from . import published
from .data import IMAGE_SUFFIXES, list_images, read_image
from .errors import UserError
from .evaluate import (
    Sample,
    Scores,
    enlarge,
    finite,
    image_names,
    mean_scores,
    prepare,
    score,
)
from .examples import Example, make_example, typical_and_best
from .modules import FusedSRCNN

__all__ = ["BICUBIC", "Candidate", "Reproduction", "Result", "find_sets", "reproduce"]

BICUBIC = "bicubic"
# Test sets of the field and the names of their folders, in the order they are reported.
TEST_SETS = {
    "Set5": ("set5",),
    "Set14": ("set14",),
    "BSD100": ("bsd100", "bsds100", "b100"),
    "Urban100": ("urban100",),
    "Manga109": ("manga109",),
}
# Where some downloads keep the originals inside a set's folder.
_INNER_FOLDERS = ("HR", "original")
_PUBLISHED_WIDTHS = (64, 32)
_DIGITS = {"psnr": 2, "psnr_cb": 2, "psnr_cr": 2, "psnr_ycbcr": 2, "ssim": 4}


@dataclass(frozen=True)
class Candidate:
    """A model to measure, its scale set."""

    name: str
    model: FusedSRCNN

    @property
    def network(self) -> str:
        """What the papers call it: "9-1-5", "9-1-5-rgb"; with its widths where they differ."""
        sizes = "-".join(map(str, self.model.kernel_sizes))
        rgb = "-rgb" if self.model.num_channels == 3 else ""
        if self.model.widths == _PUBLISHED_WIDTHS:
            return sizes + rgb
        return f"{sizes}{rgb} ({'-'.join(map(str, self.model.widths))})"


@dataclass
class Result:
    """One row: a method on a test set.

    Attributes:
        data: the test set.
        scale: the enlargement.
        method: "bicubic", or the model's name.
        network: "bicubic", or :attr:`Candidate.network`.
        images: the scores of each.
    """

    data: str
    scale: int
    method: str
    network: str
    images: dict[str, Scores] = field(default_factory=dict)

    @property
    def mean(self) -> Scores:
        """Per metric: the mean over the images that have it."""
        return mean_scores(list(self.images.values()))

    @property
    def published(self) -> published.Published | None:
        """What a paper says of this network on this set."""
        return published.find(self.network, self.data, self.scale)

    def difference(self, metric: str) -> float | None:
        """Mean minus published, both with the paper's digits; None where there is no such pair."""
        value, theirs = self.mean.get(metric), self.published
        if value is None or theirs is None or metric not in theirs.means:
            return None
        digits = _DIGITS[metric]
        return round(round(value, digits) - theirs.means[metric], digits)


@dataclass
class Reproduction:
    """All of one run."""

    results: list[Result]
    examples: list[Example]
    seconds: dict[str, float]  # of each test set

    def to_json(self, versions: Mapping[str, str]) -> str:
        """Results with means, published figures, differences, and the scores of every image."""

        def row(result: Result) -> dict[str, Any]:
            theirs = result.published
            differences = {} if theirs is None else {m: result.difference(m) for m in theirs.means}
            return {
                "data": result.data,
                "scale": result.scale,
                "method": result.method,
                "network": result.network,
                "mean": result.mean,
                "published": None if theirs is None else theirs.means,
                "difference": {m: d for m, d in differences.items() if d is not None},
                "source": None if theirs is None else theirs.source,
                "images": result.images,
            }

        content = {
            "versions": dict(versions),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "sources": published.sources(),
            "results": [row(result) for result in self.results],
        }
        return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def find_sets(root: str | Path, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """Folders of images under ``root``: name of the set -> folder.

    Args:
        root: holds one folder a set, or is itself the folder of a test set.
        wanted: names of sets or folders, in any case, training sets among them; default: every test
            set of TEST_SETS that is there.

    Raises:
        UserError: there is no such folder, or no (such) set in it; the message says what is.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}: a folder of test sets is needed")
    resolved = root.resolve()
    folders = sorted(path for path in resolved.iterdir() if path.is_dir())
    if _set_name(resolved.name) is not None and _images_of(resolved) is not None:
        folders.insert(0, resolved)
    there = {_set_name(f.name) or f.name: images for f in folders if (images := _images_of(f))}
    if wanted:
        by_name = {name.lower(): name for name in there}
        for word in wanted:
            if (_set_name(word) or word).lower() not in by_name:
                raise UserError(f"{root} has no set {word!r} of images; it has {_listed(there)}")
        chosen = [by_name[(_set_name(word) or word).lower()] for word in wanted]
        return {name: there[name] for name in chosen}
    found = {name: there[name] for name in TEST_SETS if name in there}
    if not found:
        looked_for = ", ".join("/".join((name, *other)) for name, (_, *other) in TEST_SETS.items())
        raise UserError(
            f"{root} has no test set: looked for folders of images named {looked_for}; "
            f"it has {_listed(there)}"
        )
    return found


def _set_name(folder: str) -> str | None:
    """The test set that a folder's name stands for."""
    return next((name for name, names in TEST_SETS.items() if folder.lower() in names), None)


def _images_of(folder: Path) -> Path | None:
    """The folder, or the one inside it, that holds a set's images."""
    for place in (folder, *(folder / inner for inner in _INNER_FOLDERS)):
        if place.is_dir() and any(p.suffix.lower() in IMAGE_SUFFIXES for p in place.iterdir()):
            return place
    return None


def _listed(there: Mapping[str, Path]) -> str:
    return ", ".join(there) or "no folder of images"


def reproduce(
    candidates: Sequence[Candidate],
    sets: Mapping[str, Path],
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> Reproduction:
    """Measure bicubic and every model on every set, one image in memory at a time.

    PSNR of colours is measured at the scales that have a model of three channels.

    Args:
        candidates: at least one model; of different names, one or three channels, and with a scale.
        sets: from :func:`find_sets`.
        progress: called before each image at each scale with (done, in all, what comes).

    Raises:
        UserError: an image cannot be read or is too small.
    """
    by_scale: dict[int, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: c.model.scale or 0):
        if candidate.model.scale is None:
            raise ValueError(f"model {candidate.name} must have a scale, got scale=None")
        by_scale.setdefault(candidate.model.scale, []).append(candidate)
    files = {data: list_images(folder) for data, folder in sets.items()}
    total, done = len(by_scale) * sum(map(len, files.values())), 0

    def begin(what: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, total, what)
        done += 1

    run = Reproduction([], [], {})
    for data, paths in files.items():
        begun = time.monotonic()
        _run_set(run, data, paths, by_scale, begin)
        run.seconds[data] = time.monotonic() - begun
    if progress is not None:
        progress(done, total, "done")
    return run


def _run_set(
    run: Reproduction,
    data: str,
    paths: Sequence[Path],
    by_scale: Mapping[int, Sequence[Candidate]],
    begin: Callable[[str], None],
) -> None:
    """Add the results and the examples of one set."""
    shown_scale = 3 if 3 in by_scale else min(by_scale)
    rows = {
        (scale, method): Result(data, scale, method, network)
        for scale, group in by_scale.items()
        for method, network in ((BICUBIC, BICUBIC), *((c.name, c.network) for c in group))
    }
    examples = []
    for name, path in zip(image_names(paths), paths, strict=True):
        image = read_image(path)
        for scale, group in by_scale.items():
            begin(f"{data} {name} x{scale}")
            measured = _measure(name, image, scale, group)
            for method, scores in measured.scores.items():
                rows[scale, method].images[name] = scores
            if scale == shown_scale:
                examples.append(
                    make_example(data, measured.sample, measured.outputs, measured.scores)
                )
    run.results += rows.values()
    run.examples += typical_and_best(examples)


@dataclass
class _Measured:
    """One image at one scale; by method, bicubic first: uint8 [1 or 3, H, W] and scores."""

    sample: Sample
    outputs: dict[str, Tensor]
    scores: dict[str, Scores]


def _measure(name: str, image: Tensor, scale: int, group: Sequence[Candidate]) -> _Measured:
    kinds = sorted({candidate.model.num_channels for candidate in group})
    samples = {kind: prepare(name, image, scale, num_channels=kind) for kind in kinds}
    sample = samples[kinds[0]]
    enlarged = sample.enlarged[None]
    result = _Measured(sample, {BICUBIC: enlarged}, {})
    colour = 3 in kinds
    result.scores[BICUBIC] = score(enlarged, sample, scale, colour=colour)
    for candidate in group:
        own = samples[candidate.model.num_channels]
        output = enlarge(candidate.model, own)
        result.outputs[candidate.name] = output
        result.scores[candidate.name] = score(output, own, scale, colour=colour)
    return result
