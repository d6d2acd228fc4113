"""The tables of a reproduction: the same cells for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import published
from .reproduce import Reproduction, Result

__all__ = ["TEXT_HEADINGS", "Table", "make_tables", "source_lines", "to_markdown"]

# Metric, heading, digits, and whether a paper has figures of it.
_MAIN = (("psnr", "PSNR", 2, True), ("ssim", "SSIM", 4, True), ("ms_ssim", "MS-SSIM", 4, False))
_COLOURS = (("psnr_cb", "Cb"), ("psnr_cr", "Cr"), ("psnr_ycbcr", "YCbCr"), ("psnr_rgb", "RGB"))
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
    headings = list(TEXT_HEADINGS)
    for _, label, _, comparable in _MAIN:
        headings += [label, *([_PAPER, _DIFFERENCE] if comparable else [])]
    title = "Mean over the set (PSNR in dB)"
    tables = [Table(title, headings, _grouped(run.results, lambda result: [_row(result)]))]
    coloured = [result for result in run.results if "psnr_rgb" in result.mean]
    if coloured:
        headings = [*TEXT_HEADINGS, *(label for _, label in _COLOURS)]
        tables.append(Table("PSNR of colours in dB", headings, _grouped(coloured, _colour_rows)))
    return tables


def _grouped(
    results: Sequence[Result], to_rows: Callable[[Result], list[list[str]]]
) -> list[list[list[str]]]:
    """Rows by set and scale, which the first row of each group names."""
    groups: dict[tuple[str, int], list[list[str]]] = {}
    for result in results:
        group = groups.setdefault((result.data, result.scale), [])
        for row in to_rows(result):
            name = "" if group else f"{result.data} x{result.scale}"
            group.append([name, *row])
    return list(groups.values())


def _row(result: Result) -> list[str]:
    """The method and each metric, with what was published and the difference beside it."""
    cells = [result.method]
    for metric, _, digits, comparable in _MAIN:
        cells.append(_number(result.mean[metric], digits, missing="-"))
        if comparable:
            cells.append(_number(_figure(result, metric), digits))
            cells.append(_number(result.difference(metric), digits, sign="+"))
    return cells


def _colour_rows(result: Result) -> list[list[str]]:
    """The method's row, and below it the paper's and the differences, where there is such."""
    metrics = [metric for metric, _ in _COLOURS]
    rows = [[result.method, *(_number(result.mean[m], 2, missing="-") for m in metrics)]]
    if any(_figure(result, metric) is not None for metric in metrics):
        rows.append([f"- {_PAPER}", *(_number(_figure(result, m), 2) for m in metrics)])
        differences = [result.difference(metric) for metric in metrics]
        rows.append([f"- {_DIFFERENCE}", *(_number(d, 2, sign="+") for d in differences)])
    return rows


def _figure(result: Result, metric: str) -> float | None:
    return None if result.published is None else result.published.means.get(metric)


def _number(value: float | None, digits: int, *, sign: str = "", missing: str = "") -> str:
    return missing if value is None else f"{value:{sign}.{digits}f}"


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
