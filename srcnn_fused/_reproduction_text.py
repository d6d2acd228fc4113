"""The tables of a reproduction: the same cells for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import published
from .reproduce import Reproduction, Result

__all__ = ["TEXT_HEADINGS", "Table", "make_tables", "source_lines", "to_markdown"]

# Metric, heading, digits, and whether a paper has figures of it.
_Column = tuple[str, str, int, bool]
_MAIN: Sequence[_Column] = (
    ("psnr", "PSNR", 2, True),
    ("ssim", "SSIM", 4, True),
    ("ms_ssim", "MS-SSIM", 4, False),
)
_COLOUR: Sequence[_Column] = (
    ("psnr", "Y", 2, True),
    ("psnr_cb", "Cb", 2, True),
    ("psnr_cr", "Cr", 2, True),
    ("psnr_ycbcr", "YCbCr", 2, True),
    ("psnr_rgb", "RGB", 2, False),
)
TEXT_HEADINGS = ("set", "method")  # the other columns are numbers
_PAPER, _DIFFERENCE = "paper", "diff."


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; each group of rows is one set at one scale."""

    title: str
    headings: list[str]
    groups: list[list[list[str]]]


def make_tables(run: Reproduction) -> list[Table]:
    """What was measured beside what was published; a second table where colours were measured."""
    tables = [_make("Mean over the set (PSNR in dB)", run.results, _MAIN)]
    coloured = [result for result in run.results if "psnr_rgb" in result.mean]
    if coloured:
        tables.append(_make("PSNR of colours in dB", coloured, _COLOUR))
    return tables


def _make(title: str, results: Sequence[Result], columns: Sequence[_Column]) -> Table:
    headings = list(TEXT_HEADINGS)
    for _, label, _, comparable in columns:
        headings += [label, *([_PAPER, _DIFFERENCE] if comparable else [])]
    groups: dict[tuple[str, int], list[list[str]]] = {}
    for result in results:
        group = groups.setdefault((result.data, result.scale), [])
        name = "" if group else f"{result.data} x{result.scale}"
        group.append([name, result.method, *_cells(result, columns)])
    return Table(title, headings, list(groups.values()))


def _cells(result: Result, columns: Sequence[_Column]) -> Iterator[str]:
    mean, theirs = result.mean, result.published
    for metric, _, digits, comparable in columns:
        value = mean[metric]
        yield "-" if value is None else f"{value:.{digits}f}"
        if not comparable:
            continue
        figure = None if theirs is None else theirs.means.get(metric)
        difference = result.difference(metric)
        yield "" if figure is None else f"{figure:.{digits}f}"
        yield "" if difference is None else f"{difference:+.{digits}f}"


def to_markdown(
    run: Reproduction, versions: Mapping[str, str], *, picture: str | None = None
) -> str:
    """A page: the tables, where the published figures are from, and the examples' picture."""
    lines = ["# Measured beside published", ""]
    lines += [
        "The papers' protocol on luma: `srcnn-fused reproduce`, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
    ]
    for table in make_tables(run):
        lines += [f"## {table.title}", ""]
        alignment = [
            "---" if heading in ("set", "method") else "---:" for heading in table.headings
        ]
        rows = [table.headings, alignment, *(row for group in table.groups for row in group)]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    for line in source_lines(run):
        lines += [line, ""]
    if picture is not None:
        lines += [f"![Details of test images by each method]({picture})", ""]
        lines += [
            "Of each set the images with the median and the largest gain over bicubic, where "
            "bicubic's error is largest; PSNR of the whole image.",
            "",
        ]
    return "\n".join(lines)


def source_lines(run: Reproduction) -> list[str]:
    """Where the published figures in the tables are from."""
    used: dict[str, list[str]] = {}
    for result in run.results:
        if result.published is not None:
            networks = used.setdefault(result.published.source, [])
            if result.network not in networks:
                networks.append(result.network)
    return [
        f"{_PAPER} for {', '.join(networks)}: {published.sources()[source]}."
        for source, networks in used.items()
    ]
