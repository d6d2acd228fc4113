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

from srcnn_fused.benchmark.tables import TITLES, busy_warning, case_title, headline


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
