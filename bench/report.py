"""Tables from result files: for the terminal, and in Markdown for the README.

python -m bench.report bench/results/NAME.json...

Results of bench.compare give one table, those of bench.gpu two.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TITLES = {
    "fused": "srcnn_fused",
    "eager": "PyTorch eager",
    "channels_last": "eager, channels_last",
    "compile": "torch.compile",
    "compile_frozen": "torch.compile, frozen",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}

# Load per core, before the run, from which on timings are not worth keeping.
_BUSY = 0.25


def headline(result: dict[str, Any]) -> str:
    """One line: where, when and how it was measured."""
    machine, settings = result["machine"], result["settings"]
    threads = settings["threads"]
    parts = [
        f"{machine['cpu']} ({machine['isa']})",
        f"{threads} thread{'s' if threads > 1 else ''}",
        settings["dtype"],
        f"median of {settings['rounds']} interleaved rounds",
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
        parts.insert(3, "huge pages (THP_MEM_ALLOC_ENABLE=1)")
    return ", ".join(parts)


def busy_warning(result: dict[str, Any]) -> str | None:
    """A sentence if other programs were using the machine before the run, else None."""
    machine = result["machine"]
    load = machine["load_average"][0]
    if load <= _BUSY * machine["cpu_count"]:
        return None
    return f"load average {load:.1f} before the run: others were at work, do not publish"


def case_title(case: dict[str, Any]) -> str:
    """ "9-1-5, 960x540", and what is not as usual."""
    width, height = case["size"]
    title = f"{case['network']}, {width}x{height}"
    if case["scale"] is not None:
        title += f" from {width // case['scale']}x{height // case['scale']}"
    if case.get("batch", 1) != 1:
        title += f", {case['batch']} images"
    if case["channels"] != 1:
        title += f", {case['channels']} channels"
    return title


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table a case."""
    for case in result["cases"]:
        table = Table(title=case_title(case), title_justify="left")
        table.add_column("")
        for name in ("median ms", "quartiles", "GFLOP/s", "/ fused", "max error"):
            table.add_column(name, justify="right")
        for entry in case["contenders"]:
            title = TITLES[entry["name"]]
            if entry["status"] != "ok":
                table.add_row(title, entry["status"])
                continue
            low, high = entry["quartiles_ms"]
            ratio = entry.get("ratio_to_fused")
            table.add_row(
                title,
                f"{entry['median_ms']:.1f}",
                f"{low:.1f} .. {high:.1f}",
                f"{entry['gflops']:.0f}",
                f"{ratio:.2f}" if ratio else "",
                f"{entry['max_error']:.1e}",
            )
        console.print(table)
        for entry in case["contenders"]:
            if entry["status"] != "ok":
                console.print(f"{entry['name']} {entry['status']}: {entry['reason']}", markup=False)
    console.print(headline(result), markup=False, highlight=False)
    warning = busy_warning(result)
    if warning:
        console.print(warning, style="bold red", markup=False)


def markdown(result: dict[str, Any]) -> str:
    """One table for the result: a row a contender, a column a case, `ms (times fused)`."""
    cases = result["cases"]
    lines = [
        "| ms (ratio) | " + " | ".join(case_title(case) for case in cases) + " |",
        "|---|" + "---|" * len(cases),
    ]
    for row in zip(*(case["contenders"] for case in cases), strict=True):
        if all(entry["status"] != "ok" for entry in row):
            continue
        cells = [_cell(entry) for entry in row]
        lines.append(f"| {TITLES[row[0]['name']]} | " + " | ".join(cells) + " |")
    lines += ["", headline(result) + "."]
    warning = busy_warning(result)
    return "\n".join([*lines, f"**{warning}**"] if warning else lines)


def _cell(entry: dict[str, Any]) -> str:
    if entry["status"] != "ok":
        return str(entry["status"])
    text = f"{entry['median_ms']:.1f}"
    if entry["name"] == "fused":
        return f"**{text}**"
    return f"{text} ({entry['ratio_to_fused']:.1f}x)" if "ratio_to_fused" in entry else text


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="from bench.compare or bench.gpu"
    )
    args = parser.parse_args(argv)
    for path in args.files:
        result = json.loads(path.read_text())
        if result.get("kind") == "inference":
            print(markdown(result), end="\n\n")
        elif result.get("kind") == "gpu-inference":
            from .gpu import report as gpu_report  # its cases have their titles from here

            print(gpu_report.markdown(result), end="\n\n")
        else:
            parser.error(f"{path} is not a result of bench.compare or bench.gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
