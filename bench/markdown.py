"""Results as Markdown, one table (or two) a result, each kind its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from srcnn_fused import published
from srcnn_fused.benchmark.tables import (
    TITLES,
    busy_warning,
    case_title,
    headline,
    image_title,
    mebibytes,
    ms,
    threads_title,
)

Result = dict[str, Any]


class UnknownKind(ValueError):  # noqa: N818  (a property of the file)
    """There is no table for this kind of result."""


def table(result: Result) -> str:
    """The result's table, and below it where it was measured. Raises UnknownKind."""
    kind = result.get("kind")
    if kind in ("gpu-inference", "gpu-training"):
        from .gpu import report as gpu_report  # its cases have their titles from the package

        inference = kind == "gpu-inference"
        return gpu_report.markdown(result) if inference else gpu_report.training_markdown(result)
    if kind not in _TABLES:
        raise UnknownKind(f"no table for a result of kind {kind!r}")
    lines = [*_TABLES[kind](result), "", f"{headline(result)}."]
    # Errors and bytes do not depend on who else is at work.
    warning = busy_warning(result) if "rounds" in result["settings"] else None
    return "\n".join([*lines, f"**{warning}**"] if warning else lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|---|" + "---|" * (len(cells) - 1)]


def _columns(result: Result) -> tuple[str, list[str]]:
    """What all cases have in common, and what each has of its own."""
    cases = result["cases"]
    own = [[case["network"], image_title(case)] for case in cases]
    for key in ("dtype", "threads"):
        for case, words in zip(cases, own, strict=True):
            if key in case and key not in result["settings"]:
                words.append(threads_title(case[key]) if key == "threads" else case[key])
    common = [words[0] for words in zip(*own, strict=True) if len(set(words)) == 1]
    if len(cases) == 1:  # a column needs a name
        common = own[0][1:]
    return ", ".join(common), [
        ", ".join(word for word in words if word not in common) for words in own
    ]


def _inference(result: Result) -> list[str]:
    """A row a contender, a column a case, `ms (times fused)`."""
    common, titles = _columns(result)
    lines = _head([f"{common + ', ' if common else ''}ms (ratio)", *titles])
    names = dict.fromkeys(e["name"] for case in result["cases"] for e in case["contenders"])
    for name in names:
        row = [_find(case, name) for case in result["cases"]]
        if any(entry["status"] not in ("skipped", "failed") for entry in row):
            lines.append(_line([TITLES[name], *(_time(entry) for entry in row)]))
    return lines


def _find(case: dict[str, Any], name: str) -> dict[str, Any]:
    missing = {"name": name, "status": "skipped"}
    return next((e for e in case["contenders"] if e["name"] == name), missing)


def _time(entry: dict[str, Any]) -> str:
    if entry["status"] != "ok":
        return str(entry["status"])
    text = f"{entry['median_ms']:.1f}" if entry["median_ms"] >= 1 else ms(entry["median_ms"])
    if entry["name"] == "fused":
        return f"**{text}**"
    return f"{text} ({entry['ratio_to_fused']:.1f}x)" if "ratio_to_fused" in entry else text


def _memory(result: Result) -> list[str]:
    """A row a case, a column a contender, MiB beyond input and output."""
    names = dict.fromkeys(e["name"] for case in result["cases"] for e in case["contenders"])
    lines = _head(["extra MiB", *(TITLES[name] for name in names)])
    for case in result["cases"]:
        cells = []
        for entry in (_find(case, name) for name in names):
            bound = "" if entry.get("method") == "VmHWM" else ">= "
            ok = entry["status"] == "ok"
            cells.append(bound + mebibytes(entry["extra_bytes"]) if ok else entry["status"])
        lines.append(_line([case_title(case), *cells]))
    return lines


def _scaling(result: Result) -> list[str]:
    """A row a shape, nanoseconds a pixel and their ratio to the base's, a column a thread count."""
    counts = dict.fromkeys(case["threads"] for case in result["cases"])
    base = image_title(result["base"])
    heads = [f"{threads_title(count)}: ns/pixel (/ {base})" for count in counts]
    lines = _head([result["base"]["network"], *heads, "extra MiB"])
    for title in dict.fromkeys(image_title(case) for case in result["cases"]):
        found = {
            case["threads"]: case["contenders"][0]
            for case in result["cases"]
            if image_title(case) == title
        }
        cells = [
            f"{entry['ns_per_pixel']:.1f} ({entry['ratio_to_base']:.2f})"
            for entry in (found[count] for count in counts if count in found)
        ]
        extra = max((e["extra_bytes"] for e in found.values() if "extra_bytes" in e), default=None)
        lines.append(_line([title, *cells, mebibytes(extra)]))
    return lines


def _accuracy(result: Result) -> list[str]:
    """A row a path through the code, a column a model: largest error, and what PSNR moves by."""
    cases = result["cases"]
    dataset = result["settings"]["dataset"]
    lines = _head(
        [
            "algorithm, instruction set, dtype",
            *(f"{case['model']}: max error, {dataset} PSNR" for case in cases),
        ]
    )
    missing: dict[str, list[str]] = {}  # reason -> routes
    for name in dict.fromkeys(e["name"] for case in cases for e in case["contenders"]):
        row = [_find(case, name) for case in cases]
        if all(entry["status"] == "skipped" for entry in row):
            missing.setdefault(row[0]["reason"], []).append(name)
            continue
        cells = [
            f"{entry['max_error']:.1e}, {entry['psnr_difference']:+.1e} dB"
            if entry["status"] == "ok"
            else entry["status"]
            for entry in row
        ]
        lines.append(_line([name, *cells]))
    for reason, names in missing.items():
        lines += ["", f"Not there ({reason}): {'; '.join(names)}."]
    return lines


def _training(result: Result) -> list[str]:
    """A row a contender, a column a case, `ms a step (times fused)`."""
    cases = result["cases"]
    lines = _head(["ms a step (ratio)", *(case_title(case) for case in cases)])
    for name in dict.fromkeys(e["name"] for case in cases for e in case["contenders"]):
        row = [_find(case, name) for case in cases]
        if any(entry["status"] == "ok" for entry in row):
            lines.append(_line([TITLES[name], *(_time(entry) for entry in row)]))
    return lines


def _experiments(result: Result) -> list[str]:
    """A row an experiment, by the section of the paper, and below what all were trained with."""
    cases = {case["name"]: case for case in result["cases"]}
    settings = result["settings"]
    sets = {"psnr": settings["dataset"], "test_psnr": settings["test"]}
    metrics = [key for key, name in sets.items() if name is not None]
    trained = [case["training"] for case in cases.values()]
    common = {
        key: value
        for key, value in (trained[0] if trained else {}).items()
        if all(other[key] == value for other in trained)
    }
    own = [key for key in (trained[0] if trained else {}) if key not in (*common, *_IN_COLUMNS)]
    heads = [f"{sets[key]}, dB" for key in metrics]
    cited = f"published, {sets['psnr']}"
    lines = _head(["TPAMI 2016", "network", "maps", "weights", *heads, cited, *own])
    figures: dict[str, None] = {}  # the papers whose figures are cited

    def cite(network: str, widths: str) -> str:
        found = published.find(network, settings["dataset"], settings["scale"])
        if found is None or widths != "64-32":
            return ""
        figures[found.source] = None
        return f"{found.means['psnr']:.2f} ({found.source})"

    if "bicubic" in result:
        values = [f"{result['bicubic'][key]:.2f}" for key in metrics]
        lines.append(
            _line(["", "bicubic", "", "", *values, cite("bicubic", "64-32"), *([""] * len(own))])
        )
    for group, names in result["groups"].items():
        title = group
        for case in (cases[name] for name in names if name in cases):
            values = [f"{case[key]:.2f}" for key in metrics]
            network, widths = case["network"], case["widths"]
            cells = [title, network, widths, f"{case['weights']:,}", *values, cite(network, widths)]
            lines.append(_line(cells + [str(case["training"][key]) for key in own]))
            title = ""
    said = [  # a setting at 0 is one that was not used, but for the seed
        f"{key} {value}"
        for key, value in common.items()
        if key not in _IN_COLUMNS and (value or key == "seed")
    ]
    lines += ["", f"Trained on {', '.join(settings['data'])}: {', '.join(said)}."]
    lines += [f"{source}: {published.sources()[source]}." for source in figures]
    return lines


_IN_COLUMNS = ("network", "widths")  # of the table of experiments

_TABLES: dict[str, Callable[[Result], list[str]]] = {
    "inference": _inference,
    "memory": _memory,
    "training memory": _memory,
    "scaling": _scaling,
    "accuracy": _accuracy,
    "training": _training,
    "experiments": _experiments,
}
