"""Plots of bench.compare's results over several sizes: time, memory, and the best peer's ratio.

Needs matplotlib, which `pip install '.[bench]'` brings. A panel a network, a line a contender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from srcnn_fused.benchmark.results import setting
from srcnn_fused.benchmark.tables import TITLES, busy_warning, threads_title

Point = Callable[[dict[str, Any], dict[str, Any]], "float | None"]  # of a case and its contender

# Colours that eyes of every kind tell apart (Okabe and Ito), the fused op's black.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#999999")


def pixels(case: dict[str, Any]) -> int:
    """Of the output."""
    width, height = case["size"]
    return int(case.get("batch", 1) * width * height)


def nanoseconds_per_pixel(case: dict[str, Any], entry: dict[str, Any]) -> float | None:
    """Median time for a pixel of the output."""
    return 1e6 * entry["median_ms"] / pixels(case) if entry["status"] == "ok" else None


def extra_mebibytes(case: dict[str, Any], entry: dict[str, Any]) -> float | None:  # noqa: ARG001
    """Peak memory beyond input and output; logarithmic axes have no 0."""
    return max(entry["extra_bytes"] / 2**20, 0.01) if "extra_bytes" in entry else None


def best_peer(case: dict[str, Any]) -> tuple[str, float] | None:
    """The fastest contender but the fused op, and how many times longer it takes."""
    ratios = [
        (entry["ratio_to_fused"], entry["name"])
        for entry in case["contenders"]
        if entry["status"] == "ok" and entry["name"] != "fused" and "ratio_to_fused" in entry
    ]
    return (min(ratios)[1], min(ratios)[0]) if ratios else None


def lines(cases: list[dict[str, Any]], value: Point) -> dict[str, tuple[list[int], list[float]]]:
    """Per contender, its points in the order of size."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for case in sorted(cases, key=pixels):
        for entry in case["contenders"]:
            y = value(case, entry)
            if y is not None:
                xs, ys = found.setdefault(entry["name"], ([], []))
                xs.append(pixels(case))
                ys.append(y)
    return found


def write_plots(result: dict[str, Any], folder: Path, kind: str) -> Iterator[Path]:
    """Writes what the result has points for, a file a dtype and number of threads; yields them.

    Raises ImportError without matplotlib.
    """
    import matplotlib as mpl

    mpl.use("svg" if kind == "svg" else "agg")
    mpl.rcParams["svg.hashsalt"] = "srcnn_fused"  # the same result gives the same file
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for case in result["cases"]:
        key = (setting(result, case, "dtype"), setting(result, case, "threads"))
        groups.setdefault(key, []).append(case)
    for (dtype, threads), cases in groups.items():
        words = f"{dtype}, {threads_title(threads)}, {result['machine']['cpu']}"
        if busy_warning(result):
            words += " (not quiet: not to be published)"
        suffix = f"{dtype}-{threads_title(threads).replace(' ', '-')}.{kind}"
        for name, label, value in (
            ("speed", "ns a pixel", nanoseconds_per_pixel),
            ("memory", "peak extra MiB", extra_mebibytes),
        ):
            if any(lines(cases, value).values()):
                path = folder / f"{name}-{suffix}"
                _draw_lines(cases, value, label, words, path)
                yield path
        if any(best_peer(case) for case in cases):
            path = folder / f"ratio-{suffix}"
            _draw_ratios(cases, words, path)
            yield path


def _by_network(cases: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        found.setdefault(case["network"], []).append(case)
    return found


def _draw_lines(
    cases: list[dict[str, Any]], value: Point, label: str, words: str, path: Path
) -> None:
    from matplotlib.figure import Figure

    panels = _by_network(cases)
    figure = Figure(figsize=(max(5.5, 1.0 + 3.2 * len(panels)), 5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = list(TITLES)
    for axis, (network, own) in zip(axes, panels.items(), strict=True):
        for name, (xs, ys) in lines(own, value).items():
            number = names.index(name)
            axis.plot(
                xs,
                ys,
                marker="o",
                markersize=3,
                color=_COLOURS[number % len(_COLOURS)],
                linewidth=2.2 if name == "fused" else 1.2,
                linestyle="--" if name.endswith("_thp") else "-",
                label=TITLES[name],
            )
        axis.set(title=network, xscale="log", yscale="log", xlabel="output pixels")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(label)
    handles = {text: line for axis in axes for line, text in _legend(axis)}
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=2, fontsize=8
    )
    _save(figure, words, path)


def _legend(axis: Any) -> Iterator[tuple[Any, str]]:
    yield from zip(*axis.get_legend_handles_labels(), strict=True)


def _draw_ratios(cases: list[dict[str, Any]], words: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for number, (network, own) in enumerate(_by_network(cases).items()):
        points = [
            (pixels(case), *best)
            for case in sorted(own, key=pixels)
            if (best := best_peer(case)) is not None
        ]
        xs, ys = [x for x, _, _ in points], [y for _, _, y in points]
        axis.plot(xs, ys, marker="o", color=_COLOURS[number], label=network)
        for x, name, y in points:
            above: Any = {"xytext": (3, 3), "textcoords": "offset points"}
            axis.annotate(TITLES[name], (x, y), fontsize=6, **above)
    axis.axhline(1, color="#999999", linewidth=0.8)
    axis.set(xscale="log", xlabel="output pixels", ylabel="fastest peer's time / srcnn_fused's")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    _save(figure, words, path)


def _save(figure: Any, words: str, path: Path) -> None:
    figure.suptitle(words, fontsize=9)
    options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 150}
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **options)
