"""Tables and plots from result files.

    python -m bench.report bench/results/NAME.json...            prints their tables in Markdown
    python -m bench.report --write README.md                     renews the tables in a document
    python -m bench.report --plot docs bench/results/NAME.json   draws time, memory and ratio

In a document, a table stands between two lines, the first of which names its result file, from the
repository's root; what is between them is replaced:

    <!-- bench.report: bench/results/NAME.json -->
    <!-- bench.report: end -->
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from srcnn_fused._files import replacing

from . import markdown, plots

_ROOT = Path(__file__).resolve().parent.parent
_END = "end"
_MARKER = re.compile(r"<!-- bench\.report: (\S+) -->")


class BadDocument(ValueError):  # noqa: N818  (a property of the file)
    """The markers of a document do not pair up, or name no result."""


def load(path: Path) -> dict[str, Any]:
    """A result file. Raises OSError, or ValueError where it is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(result, dict) or "kind" not in result:
        raise ValueError(f"{path} is not a result of bench")
    return result


def renewed(text: str, root: Path = _ROOT) -> str:
    """A document with every table between markers made anew. Raises BadDocument."""
    lines: list[str] = []
    open_at: int | None = None  # the line of a marker that waits for its end
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        found = _MARKER.fullmatch(line.strip())
        if found is None:
            if open_at is None:
                lines.append(line)
            continue
        if (found[1] == _END) == (open_at is None):
            what = "an end without a beginning" if open_at is None else "a second beginning"
            raise BadDocument(f"line {number}: {what}: {line.strip()}")
        open_at = None if found[1] == _END else number
        lines.append(line)
        if open_at is not None:
            lines.append("\n" + _table_of(root / found[1], number) + "\n\n")
    if open_at is not None:
        raise BadDocument(f"line {open_at}: a beginning without an end")
    return "".join(lines)


def _table_of(path: Path, number: int) -> str:
    try:
        return markdown.table(load(path))
    except (OSError, ValueError) as error:
        raise BadDocument(f"line {number}: {error}") from None


def write(path: Path) -> bool:
    """Renews a document in place; whether that changed it. Raises OSError, BadDocument."""
    text = path.read_text(encoding="utf-8")
    if not _MARKER.search(text):
        raise BadDocument("no marker such as <!-- bench.report: bench/results/NAME.json -->")
    new = renewed(text)
    if new == text:
        return False
    with replacing(path) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return True


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="of any bench command")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="renew its tables")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draw bench.compare's results")
    parser.add_argument("--format", choices=("svg", "png"), default="svg", help="of the plots")
    args = parser.parse_args(argv)
    if not args.files and args.write is None:
        parser.error("name result files, or a document with --write")
    try:
        if args.write is not None:
            changed = write(args.write)
            print(f"{args.write}: {'tables renewed' if changed else 'up to date'}")
        for path in args.files:
            result = load(path)
            if args.plot is None:
                print(markdown.table(result), end="\n\n")
            elif result["kind"] != "inference":
                parser.error(f"{path} is not a result of bench.compare, which can be plotted")
            else:
                for written in plots.write_plots(result, args.plot, args.format):
                    print(written)
    except ImportError as error:
        parser.error(f"plots need matplotlib: {error} (pip install '.[bench]' brings it)")
    except (OSError, ValueError) as error:
        parser.error(f"{args.write}: {error}" if isinstance(error, BadDocument) else str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
