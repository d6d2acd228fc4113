#!/usr/bin/env python3
"""Registers, shared memory and spills of every CUDA kernel on every architecture.

    scripts/kernel_resources.py build/cuda [--launches FILE] [--write | --check]

Reads what ptxas said while CMake built the CUDA kernels (OBJECT.ptxas beside each object). FILE has
the lines that tests/cuda_on_cpu's `cuda_launches` prints, for the dynamic shared memory. Prints a
table; --write puts it into docs/kernels.md and docs/kernels.json; --check fails where a hot kernel
spills or has a stack, and where the committed table is not that of the same nvcc.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "kernels.md"
TABLE = ROOT / "docs" / "kernels.json"

# A warp gets registers in units of so many per thread: fewer of them more or less change nothing on
# the chip, and ptxas moves that much when a line elsewhere in the file does.
REGISTER_UNIT = 8

HOT = re.compile(r"srcnn_forward|srcnn_backward")  # per pixel: must keep everything in registers

SMALL = re.compile(
    r"pack_weights2|srcnn_backward_(pack|sum|mma_pack)_kernel"
)  # of weights, not pixels

# C++ type -> the user's name for it
TYPES = {"float": "float32", "srcnn::Half": "float16", "srcnn::BFloat16": "bfloat16"}


@dataclass(frozen=True, order=True)
class Resources:
    """One kernel on one architecture; memory in bytes per thread, but shared: per block."""

    kernel: str
    sm: str  # as in sm_90a
    registers: int
    shared_static: int
    stack: int
    spill_stores: int
    spill_loads: int


def parse(log: str) -> list[Resources]:
    """What `ptxas -v` wrote; kernels by their mangled names."""
    found = []
    pieces = re.split(r"ptxas info +: Compiling entry function '(.+?)' for 'sm_(\w+)'", log)
    for name, sm, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        properties = re.search(
            rf"Function properties for {re.escape(name)}\s+(\d+) bytes stack frame, "
            r"(\d+) bytes spill stores, (\d+) bytes spill loads",
            text,
        )
        registers = re.search(r"Used (\d+) registers", text)
        if properties is None or registers is None:
            raise ValueError(f"ptxas says nothing of {name} on sm_{sm}: was it run with -v?")
        shared = re.search(r"(\d+) bytes smem", text)
        stack, stores, loads = map(int, properties.groups())
        smem = int(shared.group(1)) if shared else 0
        found.append(Resources(name, sm, int(registers.group(1)), smem, stack, stores, loads))
    return found


def demangle(names: list[str]) -> dict[str, str]:
    """Mangled -> `forward_fma, 9-1-5, 3 channels, float16`, or the whole name of other kernels."""
    result = subprocess.run(
        ["c++filt"], input="\n".join(names), text=True, check=True, capture_output=True
    )
    return dict(zip(names, map(readable, result.stdout.splitlines()), strict=True))


def readable(name: str) -> str:
    match = re.search(r"(\w+)_kernel<(?:srcnn::cuda::MmaNetwork<)?(\d), (\d), (.*?)> ?>?\(", name)
    if backward := re.search(r"(srcnn_backward_fma)_kernel<(\d)>", name):
        return f"{backward[1]}, 9-{backward[2]}-5"
    network = r"(srcnn_backward_mma)_kernel<.*BackwardMmaNetwork<(\d), (srcnn::\w+)>"
    if backward := re.search(network, name):
        return f"{backward[1]}, 9-{backward[2]}-5, {TYPES[backward[3]]}"
    if match is None:
        return re.sub(r"^void |\(anonymous namespace\)::|\(.*$", "", name)
    kernel, kernel2, channels, others = match.groups()
    # tensor cores: `Sixteen<type>, wgmma`, `Tf32, wgmma` or `Tf32x3, wgmma`
    if operand := re.match(r"srcnn::cuda::(Sixteen<(.*?)>|Tf32|Tf32x3), (true|false)", others):
        wgmma, sixteen = operand[3] == "true", operand[2]
        named = "mma" if sixteen else operand[1].lower()
        kernel = kernel.removesuffix("_mma") + ("_wgmma" if wgmma else f"_{named}")
        others = sixteen or ("tf32" if wgmma else "float")
    others = ", ".join(TYPES.get(word, word) for word in others.split(", "))
    return f"{kernel}, 9-{kernel2}-5, {channels} channel{'s' * (channels != '1')}, {others}"


def runs_on(kernel: str, sm: str) -> bool:
    """False where the kernel's instructions do not exist: what is compiled there only traps."""
    if "_wgmma, " in kernel:
        return sm == "90a"
    return not re.search(r"_(mma|tf32|tf32x3), ", kernel) or int(sm.rstrip("af")) >= 80


def read_build(build: Path) -> list[Resources]:
    logs = sorted(build.glob("CMakeFiles/srcnn_fused_cuda.dir/**/*.ptxas"))
    if not logs:
        raise SystemExit(f"{build} has no *.ptxas: build it with -DSRCNN_FUSED_CUDA=ON first")
    found = [resources for log in logs for resources in parse(log.read_text())]
    names = demangle(sorted({resources.kernel for resources in found}))
    named = [Resources(**{**asdict(r), "kernel": names[r.kernel]}) for r in found]
    return sorted(r for r in named if runs_on(r.kernel, r.sm))


def nvcc_version(build: Path) -> str:
    """The version of the compiler that CMake found, such as 13.0.88."""
    for path in build.glob("CMakeFiles/*/CMakeCUDACompiler.cmake"):
        match = re.search(r'CMAKE_CUDA_COMPILER_VERSION "([\d.]+)"', path.read_text())
        if match:
            return match.group(1)
    raise SystemExit(f"{build} does not say which nvcc it was built with")


def shared_bytes(launches: list[dict[str, Any]], kernel: str, sm: str) -> int | None:
    """The dynamic shared memory of a block, where that chip can have this kernel."""
    match = re.search(r"forward_(\w+), 9-(\d)-5, (\d) channels?, (.*)", kernel)
    if match is None:
        return None
    *wanted, elements = match.groups()
    for launch in launches:
        chosen = [launch["kernel"], str(launch["kernel2"]), str(launch["channels"])]
        if chosen != wanted or str(launch["sm"]) != sm.rstrip("a"):
            continue
        if wanted[0] == "fma" or (launch["element_bytes"] == 2) == elements.endswith("float16"):
            return int(launch["shared_bytes"])
    return None


def markdown(found: list[Resources], launches: list[dict[str, Any]]) -> str:
    """A row per kernel that runs per pixel, or resizes; a column per architecture."""
    chips = sorted({r.sm for r in found}, key=lambda sm: int(sm.rstrip("af")))
    lines = [
        f"| kernel | {' | '.join('sm_' + sm for sm in chips)} |",
        "|---" * (len(chips) + 1) + "|",
    ]
    for kernel in sorted({r.kernel for r in found if not SMALL.search(r.kernel)}):
        cells = []
        for sm in chips:
            cell = [r for r in found if (r.kernel, r.sm) == (kernel, sm)]
            cells.append(describe(cell[0], shared_bytes(launches, kernel, sm)) if cell else "")
        lines.append(f"| {kernel.removeprefix('srcnn_')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def describe(r: Resources, dynamic: int | None) -> str:
    words = [str(r.registers)]
    if dynamic is not None or r.shared_static:
        words.append(f"{((dynamic or 0) + r.shared_static) / 1024:.0f} KiB")
    if r.spill_stores or r.spill_loads:
        words.append(f"**spills {r.spill_stores} + {r.spill_loads}**")
    if r.stack:
        words.append(f"**stack {r.stack}**")
    return ", ".join(words)


def as_allocated(r: Resources) -> Resources:
    """With the registers that the chip sets aside for it."""
    return replace(r, registers=-(-r.registers // REGISTER_UNIT) * REGISTER_UNIT)


def faults_of(found: list[Resources], nvcc: str) -> list[str]:
    """Why --check fails."""
    faults = [
        f"{r.kernel} on sm_{r.sm}: {r.spill_stores} bytes of spill stores, {r.spill_loads} of "
        f"spill loads, {r.stack} of stack"
        for r in found
        if HOT.search(r.kernel) and (r.spill_stores or r.spill_loads or r.stack)
    ]
    empty = {"nvcc": nvcc, "kernels": []}
    committed: dict[str, Any] = json.loads(TABLE.read_text()) if TABLE.exists() else empty
    if committed["nvcc"] != nvcc:
        print(f"docs/kernels.json is of nvcc {committed['nvcc']}, this is {nvcc}: not compared")
        return faults
    chips = {r.sm for r in found}
    before = {Resources(**row) for row in committed["kernels"] if row["sm"] in chips}
    known = {as_allocated(r) for r in before}
    now = {as_allocated(r) for r in found}
    if new := sorted(now - known) or sorted(known - now):
        faults.append(
            f"docs/kernels.json is out of date for {len(new)} kernels, such as {new[0].kernel} on "
            f"sm_{new[0].sm}: scripts/kernel_resources.py --write"
        )
    return faults


def put_between(document: str, marker: str, text: str) -> str:
    """The document with new text between `<!-- marker -->` and `<!-- end of marker -->`."""
    start, end = f"<!-- {marker} -->\n", f"<!-- end of {marker} -->"
    if document.count(start) != 1 or document.count(end) != 1:
        raise SystemExit(f"docs/kernels.md must have {start.strip()} and {end} once each")
    head, _, rest = document.partition(start)
    return f"{head}{start}{text}\n{end}{rest.partition(end)[2]}"


def read_launches(path: Path | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path else []


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=Path, help="CMake's folder, built with SRCNN_FUSED_CUDA=ON")
    parser.add_argument("--launches", type=Path, help="output of cuda_launches")
    parser.add_argument("--write", action="store_true", help="write docs/kernels.md and .json")
    parser.add_argument("--check", action="store_true", help="fail on spills and on an old table")
    arguments = parser.parse_args()
    found, nvcc = read_build(arguments.build), nvcc_version(arguments.build)
    table = markdown(found, read_launches(arguments.launches))
    if arguments.write:
        if arguments.launches is None:
            parser.error("--write needs --launches")
        rows = ",\n".join(json.dumps(asdict(r)) for r in found)
        TABLE.write_text(f'{{"nvcc": "{nvcc}", "kernels": [\n{rows}\n]}}\n')
        text = f"nvcc {nvcc}.\n\n{table}"
        DOCUMENT.write_text(put_between(DOCUMENT.read_text(), "resources", text))
    elif not arguments.check:
        print(table)
    faults = faults_of(found, nvcc) if arguments.check else []
    for fault in faults:
        print(f"kernel_resources: {fault}", file=sys.stderr)
    if arguments.check and not faults:
        print(f"{len(found)} kernels: none spills, and docs/kernels.json agrees")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
