#!/usr/bin/env python3
"""What one 1920x1080 frame needs of each part of a GPU, and which part is the bound.

    scripts/kernel_model.py LAUNCHES [--write]

LAUNCHES: the lines that tests/cuda_on_cpu's `cuda_launches` prints (strips, halos, blocks). Nothing
is measured here: counts of the kernels' loops, divided by the GPUs' rates. A kernel will be slower;
by how much, a GPU has to say.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kernel_resources import DOCUMENT, put_between, read_launches

HEIGHT, WIDTH = 1080, 1920
WIDTH1, WIDTH2, KERNEL1, KERNEL3 = 64, 32, 9, 5


@dataclass(frozen=True)
class Gpu:
    """Per multiprocessor and clock: multiply-adds with sums in float32, bytes from L2."""

    name: str
    sm: int
    multiprocessors: int
    mhz: int  # boost
    tensor_16bit: int  # of the fastest instruction
    tensor_tf32: int
    fma: int
    l2_bytes: float
    source: str
    mma_share: float = 1.0  # of the tensor cores' rate that mma.sync reaches


# Dense rates = TFLOPS / (2 x multiprocessors x clock) of the papers' tables of specifications.
# L2: A100 5120 bytes a clock (its whitepaper); others as measured by arXiv 2402.13499, 3942 on an
# H800 and 2.6 times less on an RTX 4090, or taken to be as that one.
MICRO = "arXiv 2402.13499"
GPUS = [
    Gpu("T4", 75, 40, 1590, 0, 0, 64, 12, "Turing architecture whitepaper (WP-09183), table 4"),
    Gpu("A100", 80, 108, 1410, 1024, 512, 64, 47, "A100 architecture whitepaper, tables 1 to 3"),
    Gpu("RTX 3090", 86, 82, 1695, 256, 128, 128, 12, "GA102 architecture whitepaper, table 9"),
    Gpu("RTX 4090", 89, 128, 2520, 256, 128, 128, 12, "Ada architecture whitepaper, appendix A"),
    Gpu(
        "H100 SXM, H200",
        90,
        132,
        1830,
        2048,
        1024,
        128,
        30,
        f"H100 architecture whitepaper, table 2; mma.sync: {MICRO}",
        0.629,
    ),
    Gpu("RTX 5090", 120, 170, 2407, 256, 128, 128, 12, "RTX Blackwell whitepaper, appendix A"),
]
SHARED_BYTES = 128  # per multiprocessor and clock: 32 banks of 4 bytes (CUDA C++ Programming Guide)
ISSUE = 4  # warp instructions per multiprocessor and clock: 4 schedulers
LATENCY, LATENCY_L2 = 480, 265  # clocks of a load (arXiv 2402.13499: 466 to 542, 262 to 273)


@dataclass(frozen=True)
class Stage:
    """What a row of 32 positions needs. `rows`: how many rows it makes beyond a segment's own."""

    name: str
    rows: int
    mma: float = 0  # multiply-adds by mma.sync ...
    wgmma: float = 0  # ... and by wgmma
    fma: float = 0  # warp instructions
    wavefronts: float = 0  # passes of 128 bytes through shared memory
    issue: float = 0  # warp instructions, but for most arithmetic of addresses
    l2_bytes: float = 0  # of a block's whole row


# ---------------------------------------------------------------- counts
# One function per kernel; change them with the kernels, and compare with the machine code's own
# counts, which scripts/kernel_sass.py shows.


def mma_stages(launch: dict[str, Any]) -> list[Stage]:
    """csrc/cuda/forward_mma.cuh. A step of k is 8 units of 32 bits; a tile 16 pixels x 8 channels.

    A warp has `tiles` x 16 pixels, which share each load of weights.
    """
    kernel, kernel2, c = launch["kernel"], launch["kernel2"], launch["channels"]
    per_unit = 4 // launch["element_bytes"]
    products = 3 if kernel == "tf32x3" else 1
    tiles = 1 if products > 1 else 4 if kernel2 == 1 else 2
    warps = 2 / tiles  # that 32 pixels are
    halo1, halo2 = 2 * (KERNEL3 // 2 + kernel2 // 2), 2 * (KERNEL3 // 2)

    def product(name: str, rows: int, steps: int, columns: int, loads: int, passes: int) -> Stage:
        """`loads` of A and their wavefronts, a warp and step; `columns` tiles of 8."""
        made = steps * columns * tiles * products
        # two tiles of weights are 16 bytes per lane: one load, four wavefronts
        issue = made + steps * (loads + columns // 2)
        if products > 1:  # high and low part of each word: 4 of a tile of A, 2 of one of B. About
            issue += steps * 6 * (4 * tiles + 2 * columns)  # 6 instructions, says the machine code
        return Stage(
            name,
            rows,
            mma=warps * made * 16 * 8 * 8 * per_unit,
            wavefronts=warps * steps * (passes + 2 * columns),
            issue=warps * issue,
        )

    # conv1: the 9 taps of a row are 5 pairs or 9 numbers; units are filled up to whole steps.
    # Per step and tile 4 loads of pixels, and 2 of their places in the ring.
    units = c * KERNEL1 * math.ceil(KERNEL1 / per_unit)
    loads = 4 * tiles + 2
    stages = [product("conv1", halo1, math.ceil(units / 8), WIDTH1 // 8, loads, loads)]
    steps2, steps3 = WIDTH1 // (8 * per_unit), WIDTH2 // (8 * per_unit)
    if kernel2 == 1:  # A is conv1's sums: no load
        stages.append(product("conv2", halo2, steps2, WIDTH2 // 8, 0, 0))
    else:
        # 4 bytes a lane in 16 bits, 8 in 32
        stages.append(Stage("hidden1", halo1, wavefronts=32 * (3 - per_unit), issue=32))
        # f2 rows of hidden2 at once; per step and tile one ldmatrix.x4 of four wavefronts
        steps, columns = steps2 * kernel2, kernel2 * WIDTH2 // 8
        conv2 = product("conv2", halo1, steps, columns, tiles, 4 * tiles)
        if kernel == "wgmma":
            # 64 pixels an instruction: 2 KB of A and 256 bytes a tile of B, which is shared by none
            passes = steps * (2048 + 256 * columns) / 128 / 2
            conv2 = Stage("conv2", halo1, wgmma=conv2.mma, wavefronts=passes, issue=steps * 2)
        if streamed := launch["streamed_bytes"]:  # a row's weights, from L2 into shared memory
            copied = streamed / 128 / (launch["columns"] / 32)
            conv2 = Stage(
                **{
                    **vars(conv2),
                    "l2_bytes": streamed,
                    "wavefronts": conv2.wavefronts + copied,
                    "issue": conv2.issue + copied / 4,
                }
            )
        stages.append(conv2)
    # 25 taps are 15 pairs: 4 tiles; 16 stores and 15 loads of 8 bytes a lane. Sums of output rows
    # that are not in registers: 4 loads and 4 stores.
    stages.append(product("conv3", halo2, c * steps3, 4, 0, 0))
    kept = 8 if c > 1 or per_unit == 1 else 0
    stages.append(
        Stage("taps", 0, wavefronts=c * (2 * 16 + 2 * 15 + kept), issue=c * (16 + 15 + 30 + kept))
    )
    # without the bicubic; 16 bits are kept twice
    stages.append(Stage("input row", halo1, wavefronts=c * per_unit, issue=4 * c))
    return stages


def fma_stages(launch: dict[str, Any]) -> list[Stage]:
    """csrc/cuda/forward_fma.cu: a thread has 4 positions, and 8 outputs of conv1 and of conv2."""
    kernel2, c = launch["kernel2"], launch["channels"]
    halo1, halo2 = 2 * (KERNEL3 // 2 + kernel2 // 2), 2 * (KERNEL3 // 2)

    def convolution(name: str, rows: int, inputs: int, outputs: int, size: int) -> Stage:
        taps = inputs * size  # rows of `size` taps
        fma = taps * size * outputs
        # per thread and row, float4s: of pixels (4 wavefronts a warp) and of weights (the same for
        # the whole warp: 1)
        pixels, weights = math.ceil((4 + size - 1) / 4), size * 8 / 4
        warps = outputs / 8 / 4  # 4 positions a thread
        return Stage(
            name,
            rows,
            fma=fma,
            wavefronts=taps * warps * (4 * pixels + weights),
            issue=fma + taps * warps * (pixels + weights),
        )

    def stored(rows: int, outputs: int) -> Stage:
        return Stage(f"hidden of {outputs}", rows, wavefronts=outputs, issue=outputs / 4)

    # A warp's 4 input channels: 2 float4s of pixels each, 25 of weights (the same for the whole
    # warp) and the sums of 5 rows; these are read by one thread of 8. 2 warps are 32 pixels.
    sums = 5 * 2 * c  # float4s, for all 8 groups of channels
    taps = KERNEL3 * KERNEL3 * WIDTH2 * c
    conv3 = Stage(
        "conv3",
        0,
        fma=taps,
        wavefronts=2 * (4 * 2 * 4 + 25 * c) + 2 * 4 * sums,
        issue=taps + 2 * (4 * 2 + 25 * c) + (1 + 1 + 4) * sums,  # a load, a store, 4 additions
    )
    return [
        convolution("conv1", halo1, c, WIDTH1, KERNEL1),
        stored(halo1, WIDTH1),
        convolution("conv2", halo2, WIDTH1, WIDTH2, kernel2),
        # half of the sums to the thread with the other half of the inputs, and back
        Stage("halves of conv2", halo2, wavefronts=2 * WIDTH2, issue=2 * WIDTH2 / 4 + WIDTH2),
        stored(halo2, WIDTH2),
        conv3,
        Stage("input row", halo1, wavefronts=c, issue=c),  # without the bicubic
    ]


# ---------------------------------------------------------------- times


@dataclass(frozen=True)
class Estimate:
    """Microseconds per frame. `parts`: if nothing but that part of the GPU were slow."""

    gpu: Gpu
    launch: dict[str, Any]
    useful: float  # share of the computed positions that are output; the rest is halo
    busy: float  # share of the multiprocessors' time in which they have work
    parts: dict[str, float]
    staged: float  # each stage with its own bound, one after the other
    start: float
    floor: float

    @property
    def bound(self) -> str:
        return max(self.parts, key=lambda part: self.parts[part])


def multiply_adds(kernel2: int, c: int) -> int:
    """Per output pixel, as the papers count."""
    return WIDTH1 * KERNEL1**2 * c + WIDTH1 * WIDTH2 * kernel2**2 + WIDTH2 * KERNEL3**2 * c


def jobs_of_the_busiest(jobs: int, blocks: int, multiprocessors: int) -> int:
    """Block b takes jobs b, b + blocks, ...; blocks are dealt to multiprocessors in turn."""
    taken = [0] * multiprocessors
    for job in range(jobs):
        taken[job % blocks % multiprocessors] += 1
    return max(taken)


def start_clocks(launch: dict[str, Any], jobs: int) -> int:
    """Loads that nothing overlaps: all weights, 4 at a time, and a strip's first 9 rows."""
    if launch["kernel"] == "fma":
        return 0
    streamed = int(launch["streamed_bytes"] > 0)
    kernel2 = int(launch["kernel2"])
    weights = multiply_adds(kernel2, int(launch["channels"]))
    weights -= streamed * WIDTH1 * WIDTH2 * kernel2**2
    batches = math.ceil(weights / int(launch["threads"]) / 4)
    strips = math.ceil(jobs / int(launch["blocks_per_sm"]))
    return batches * LATENCY_L2 + KERNEL1 * LATENCY * strips


def estimate(gpu: Gpu, launch: dict[str, Any]) -> Estimate:
    kernel, c = str(launch["kernel"]), int(launch["channels"])
    count = fma_stages if kernel == "fma" else mma_stages
    tensor = gpu.tensor_16bit if launch["element_bytes"] == 2 else gpu.tensor_tf32
    columns = float(launch["columns"])
    rates: dict[str, Callable[[Stage], float]] = {  # clocks of a multiprocessor
        "tensor cores": lambda s: (s.mma / gpu.mma_share + s.wgmma) / tensor if tensor else 0,
        "FMA": lambda s: s.fma * 32 / gpu.fma,
        "shared memory": lambda s: s.wavefronts * 128 / SHARED_BYTES,
        "issue": lambda s: s.issue / ISSUE,
        "L2": lambda s: s.l2_bytes / (columns / 32) / gpu.l2_bytes,
    }
    jobs = launch["strips"] * launch["segments"]
    most = jobs_of_the_busiest(jobs, launch["blocks"], gpu.multiprocessors)
    totals, staged = dict.fromkeys(rates, 0.0), 0.0
    for stage in count(launch):
        # in the rows that the busiest multiprocessor makes, a segment's halo included
        rows = min(HEIGHT, launch["segment_height"] + stage.rows)
        units = most * rows * launch["columns"] / 32 / gpu.mhz
        clocks = {part: rate(stage) * units for part, rate in rates.items()}
        totals = {part: total + clocks[part] for part, total in totals.items()}
        staged += max(clocks.values())
    made = launch["segment_height"] + 2 * (KERNEL3 // 2 + launch["kernel2"] // 2)
    peak = (gpu.fma if kernel == "fma" else tensor) * gpu.multiprocessors * gpu.mhz
    return Estimate(
        gpu,
        launch,
        useful=HEIGHT * WIDTH / (jobs * launch["columns"] * min(HEIGHT, made)),
        busy=jobs / (most * gpu.multiprocessors),
        parts=totals,
        staged=staged,
        start=start_clocks(launch, most) / gpu.mhz,
        floor=multiply_adds(launch["kernel2"], c) * HEIGHT * WIDTH / peak,
    )


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(estimates: list[Estimate]) -> str:
    parts = list(estimates[0].parts)
    titles = ["GPU", "kernel", "network, channels", "useful", "busy", *parts, "staged", "start"]
    lines = [row([*titles, "floor"]), "|---" * (len(titles) + 1) + "|"]
    for e in estimates:
        kernel, streamed = e.launch["kernel"], ", streamed" * (e.launch["streamed_bytes"] > 0)
        if kernel == "wgmma":
            kernel += " tf32" if e.launch["element_bytes"] == 4 else " 16 bits"
        if e.launch["auto"]:
            kernel = f"**{kernel}**"
        cells = [f"**{e.parts[p]:.0f}**" if p == e.bound else f"{e.parts[p]:.0f}" for p in parts]
        cells = ["" if cell == "0" else cell for cell in cells]
        network = f"9-{e.launch['kernel2']}-5, {e.launch['channels']}{streamed}"
        times = [f"{time:.0f}" for time in (e.staged, e.start, e.floor)]
        shares = [f"{e.useful:.0%}", f"{e.busy:.0%}"]
        lines.append(row([e.gpu.name, kernel, network, *shares, *cells, *times]))
    return "\n".join(lines)


def assumptions() -> str:
    rates = "multiply-adds per SM and clock: 16 bits, tf32, fp32"
    titles = ["GPU", "SMs", "MHz", rates, "mma.sync", "bytes of L2 per SM and clock", "from"]
    lines = [row(titles), "|---" * len(titles) + "|"]
    for g in GPUS:
        rates = f"{g.tensor_16bit or '-'}, {g.tensor_tf32 or '-'}, {g.fma}"
        cells = [g.name, str(g.multiprocessors), str(g.mhz), rates, f"{g.mma_share:.1%}"]
        lines.append(row([*cells, f"{g.l2_bytes:.0f}", g.source]))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("launches", type=Path, help="output of cuda_launches")
    parser.add_argument("--write", action="store_true", help="write docs/kernels.md")
    arguments = parser.parse_args()
    by_sm = {gpu.sm: gpu for gpu in GPUS}
    estimates = [
        estimate(by_sm[launch["sm"]], launch)
        for launch in read_launches(arguments.launches)
        if launch["sm"] in by_sm
    ]
    text = f"{markdown(estimates)}\n\n{assumptions()}"
    if arguments.write:
        DOCUMENT.write_text(put_between(DOCUMENT.read_text(), "model", text))
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
