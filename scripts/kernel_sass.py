#!/usr/bin/env python3
"""What the inner loops of the CUDA kernels are made of: instructions of the machine code.

    scripts/kernel_sass.py OBJECT... [--sm 90a] [--kernel forward_mma]

Needs cuobjdump and nvdisasm on PATH: of the CUDA toolkit, or of the PyPI packages
nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm. A loop is what lies between a branch back and its
target; only innermost loops with products (HMMA, HGMMA, FFMA) are shown. Counts are static: per
warp and round.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kernel_resources import demangle

PRODUCTS = ("HMMA", "HGMMA", "FFMA")
MEMORY = ("LDS", "LDSM", "STS", "LDG", "STG", "LDL", "STL", "BAR")


@dataclass(frozen=True)
class Loop:
    """An innermost loop."""

    kernel: str  # mangled
    start: int  # addresses
    end: int
    counts: Counter[str]

    @property
    def products(self) -> int:
        return sum(self.counts[name] for name in PRODUCTS)


def instructions(text: str) -> list[tuple[int, str, str]]:
    """(address, opcode, operands) of one function."""
    pattern = r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?([A-Z0-9_.]+)\s*([^;]*);"
    return [(int(a, 16), opcode, rest) for a, opcode, rest in re.findall(pattern, text)]


def loops_of(kernel: str, text: str) -> list[Loop]:
    listed = instructions(text)
    spans = set()
    for address, opcode, operands in listed:
        target = re.search(r"0x([0-9a-f]+)\s*$", operands.strip())
        if opcode.startswith("BRA") and target and int(target.group(1), 16) < address:
            spans.add((int(target.group(1), 16), address))
    found = []
    for start, end in sorted(spans):
        if any((start, end) != (s, e) and start <= s and e <= end for s, e in spans):
            continue
        counts = Counter(
            op.partition(".")[0] for address, op, _ in listed if start <= address <= end
        )
        loop = Loop(kernel, start, end, counts)
        if loop.products >= 8:
            found.append(loop)
    return found


def read(path: Path, sm: str) -> list[Loop]:
    command = ["cuobjdump", "-sass", "-arch", f"sm_{sm}", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pieces = re.split(r"Function : (\S+)", text)
    return [
        loop
        for k, body in zip(pieces[1::2], pieces[2::2], strict=True)
        for loop in loops_of(k, body)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("objects", nargs="+", type=Path, help="objects of the CUDA build")
    parser.add_argument("--sm", default="90a", help="the architecture, one that was built")
    parser.add_argument("--kernel", default="", help="only kernels whose name has this")
    arguments = parser.parse_args()
    for tool in ("cuobjdump", "nvdisasm"):
        if shutil.which(tool) is None:
            parser.error(
                f"{tool} is not on PATH; pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
            )
    loops = [loop for path in arguments.objects for loop in read(path, arguments.sm)]
    names = demangle(sorted({loop.kernel for loop in loops}))
    shown = [name for name in (*PRODUCTS, *MEMORY) if any(loop.counts[name] for loop in loops)]
    titles = ["kernel", "loop", "instructions", *shown, "others"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for loop in sorted(loops, key=lambda one: (names[one.kernel], one.start)):
        if arguments.kernel not in names[loop.kernel]:
            continue
        total = sum(loop.counts.values())
        counts = [loop.counts[name] for name in shown]
        cells = [total, *counts, total - sum(counts)]
        where = f"0x{loop.start:x}-0x{loop.end:x}"
        print(f"| {names[loop.kernel]} | {where} | {' | '.join(map(str, cells))} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
