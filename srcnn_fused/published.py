"""What the papers published: the figures that a reproduction is held against.

They are in ``published.json``, each with its source. A figure is a mean over a test set by the
papers' protocol (:mod:`srcnn_fused.evaluate`), with the digits that were printed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Published", "find", "sources"]

_FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Published:
    """One row of a paper's table.

    Attributes:
        source: short name of the paper, a key of :func:`sources`.
        means: by metric, keys as in :class:`srcnn_fused.evaluate.Report`.
    """

    source: str
    means: dict[str, float]


def find(network: str, data: str, scale: int) -> Published | None:
    """What was published for "bicubic", "9-1-5", "9-5-5" or "9-1-5-rgb" on a test set ("Set5")."""
    return _read()[1].get((network, data, scale))


def sources() -> dict[str, str]:
    """The papers: short name -> authors, title, where, and which tables."""
    return _read()[0]


@cache
def _read() -> tuple[dict[str, str], dict[tuple[str, str, int], Published]]:
    content = json.loads(_FILE.read_text(encoding="utf-8"))
    figures = {}
    for row in content["figures"]:
        key = row.pop("network"), row.pop("data"), row.pop("scale")
        figures[key] = Published(row.pop("source"), row)
    return content["sources"], figures
