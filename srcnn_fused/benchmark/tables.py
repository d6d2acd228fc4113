"""Results as tables for the terminal, and the words that tables and plots share."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["TITLES", "busy_warning", "case_title", "headline", "show"]

TITLES = {
    "fused": "srcnn_fused",
    "eager": "PyTorch eager",
    "channels_last": "eager, channels_last",
    "compile": "torch.compile",
    "compile_frozen": "torch.compile, frozen",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "eager_thp": "PyTorch eager, huge pages",
    "channels_last_thp": "channels_last, huge pages",
    "compile_thp": "torch.compile, huge pages",
    "compile_frozen_thp": "torch.compile, frozen, huge pages",
}

# Load per core before the run, and others' share of the processors during it, from which on timings
# are not worth keeping.
_BUSY = 0.25
_BUSY_MEANWHILE = 0.05


def headline(result: dict[str, Any]) -> str:
    """One line: where, when and how it was measured."""
    machine, settings = result["machine"], result["settings"]
    threads = settings.get("threads")
    dtype = settings.get("dtype")
    parts = [
        f"{machine['cpu']} ({machine['isa']})",
        *([threads_title(threads)] if threads else []),
        *([dtype] if dtype else []),
        *([f"median of {settings['rounds']} interleaved rounds"] if "rounds" in settings else []),
        *(
            f"{TITLES.get(name, name)} {machine['versions'][package]}"
            for name, package in (
                ("PyTorch", "torch"),
                ("onnxruntime", "onnxruntime"),
                ("openvino", "openvino"),
            )
            if machine["versions"].get(package)
        ),
        machine["date"][:10],
    ]
    if machine["thp"]:
        parts.insert(1, "huge pages (THP_MEM_ALLOC_ENABLE=1)")
    return ", ".join(parts)


def threads_title(threads: int) -> str:
    """ "1 thread", "2 threads"."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


def busy_warning(result: dict[str, Any]) -> str | None:
    """A sentence if other programs were using the machine, else None."""
    machine = result["machine"]
    share = machine.get("others_share")
    if share is not None and share > _BUSY_MEANWHILE:
        return f"others took {share:.0%} of the processors during the run: do not publish"
    load = machine["load_average"][0]
    if share is None and load > _BUSY * machine["cpu_count"]:
        return f"load average {load:.1f} before the run: others were at work, do not publish"
    return None


def case_title(case: dict[str, Any]) -> str:
    """ "9-1-5, 960x540", and what is not as usual."""
    return f"{case['network']}, {image_title(case)}"


def image_title(case: dict[str, Any]) -> str:
    """ "960x540", and what is not as usual."""
    width, height = case["size"]
    title = f"{width}x{height}"
    if case["scale"] is not None:
        title += f" from {width // case['scale']}x{height // case['scale']}"
    if case.get("batch", 1) != 1:
        title += f", {case['batch']} images"
    if case["channels"] != 1:
        title += f", {case['channels']} channels"
    return title


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table a case, then why contenders are missing, and where it was measured."""
    reasons: dict[tuple[str, str], str] = {}
    for case in result["cases"]:
        console.print(_table(result, case))
        for entry in case["contenders"]:
            if entry["status"] != "ok":
                reasons.setdefault((entry["name"], entry["reason"]), entry["status"])
    for (name, reason), status in reasons.items():
        console.print(f"{name} {status}: {reason}", markup=False, highlight=False)
    console.print(headline(result), markup=False, highlight=False)
    warning = busy_warning(result)
    if warning:
        console.print(warning, style="bold red", markup=False)


def _table(result: dict[str, Any], case: dict[str, Any]) -> Table:
    title = case_title(case)
    for key in ("dtype", "threads"):
        if key in case and key not in result["settings"]:
            title += f", {threads_title(case[key]) if key == 'threads' else case[key]}"
    with_floor = "floor_ms" in case
    with_memory = any("extra_bytes" in entry for entry in case["contenders"])
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("median ms", "quartiles", "GFLOP/s"):
        table.add_column(name, justify="right")
    if with_floor:
        table.add_column("floor share", justify="right")
    table.add_column("/ fused", justify="right")
    if with_memory:
        table.add_column("extra MiB", justify="right")
    table.add_column("max error", justify="right")
    for entry in case["contenders"]:
        cells = [TITLES[entry["name"]]]
        if entry["status"] != "ok":
            table.add_row(*cells, entry["status"])
            continue
        low, high = entry["quartiles_ms"]
        ratio = entry.get("ratio_to_fused")
        cells += [f"{ms(entry['median_ms'])}", f"{ms(low)} .. {ms(high)}", f"{entry['gflops']:.0f}"]
        if with_floor:
            cells.append(f"{entry['share_of_floor']:.0%}")
        cells.append(f"{ratio:.2f}" if ratio else "")
        if with_memory:
            cells.append(mebibytes(entry.get("extra_bytes")))
        table.add_row(*cells, f"{entry['max_error']:.1e}")
    return table


def ms(value: float) -> str:
    """Three significant digits of what is short, one decimal of what is not."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def mebibytes(value: int | None) -> str:
    """Bytes in MiB; nothing where there is no figure."""
    return "" if value is None else f"{value / 2**20:.1f}"
