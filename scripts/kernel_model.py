#!/usr/bin/env python3
"""What one 1920x1080 frame needs of each part of a GPU, and which part is the bound.

    scripts/kernel_model.py LAUNCHES [--write]

LAUNCHES: the lines that tests/cuda_on_cpu's `cuda_launches` prints (strips, halos, blocks). Nothing
is measured here: counts of the kernels' inner loops, divided by rates from NVIDIA's papers. The
kernels will be slower; by how much, a GPU has to say.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kernel_resources import DOCUMENT, put_between, read_launches

HEIGHT, WIDTH = 1080, 1920
WIDTH1, WIDTH2, KERNEL1, KERNEL3 = 64, 32, 9, 5


@dataclass(frozen=True)
class Gpu:
    """Per multiprocessor and clock, in multiply-adds, sums in float32. `mma`: mma.sync."""

    name: str
    sm: int
    multiprocessors: int
    mhz: int  # boost
    mma_16bit: int
    mma_tf32: int
    fma: int
    source: str
    peak_over_mma: float = 1.0  # where the tensor cores have faster instructions than mma.sync


# Dense rates = TFLOPS / (2 x multiprocessors x clock) of the papers' tables of specifications.
GPUS = [
    Gpu("T4", 75, 40, 1590, 0, 0, 64, "Turing architecture whitepaper (WP-09183), table 4"),
    Gpu("A100", 80, 108, 1410, 1024, 512, 64, "A100 architecture whitepaper, tables 1 to 3"),
    Gpu("RTX 3090", 86, 82, 1695, 256, 128, 128, "GA102 architecture whitepaper, table 9"),
    Gpu("RTX 4090", 89, 128, 2520, 256, 128, 128, "Ada architecture whitepaper, appendix A"),
    # The paper's 2048 and 1024 are wgmma's; mma.sync reaches 62 % of that (arXiv 2402.13499).
    Gpu("H100 SXM", 90, 132, 1830, 1270, 635, 128, "H100 architecture whitepaper, table 2", 1.61),
    Gpu("RTX 5090", 120, 170, 2407, 256, 128, 128, "RTX Blackwell whitepaper, appendix A"),
]
SHARED_BYTES = 128  # per multiprocessor and clock: 32 banks of 4 bytes (CUDA C++ Programming Guide)
ISSUE = 4  # warp instructions per multiprocessor and clock: 4 schedulers


@dataclass(frozen=True)
class Stage:
    """One row of 32 positions. `wavefronts`: passes of 128 bytes through shared memory."""

    name: str
    mma: int = 0  # mma.sync.m16n8k16, or the same multiply-adds in tf32: two m16n8k8
    fma: int = 0  # warp instructions
    wavefronts: float = 0
    issue: float = 0  # mma, fma, loads and stores; not the arithmetic of addresses


# ---------------------------------------------------------------- counts
# One function per kernel; change them with the kernels, and compare with the machine code's own
# counts, which scripts/kernel_sass.py shows.


def mma_stages(kernel2: int, c: int) -> list[Stage]:
    """csrc/cuda/forward_mma.cu: a warp has 32 pixels, two tiles of 16; a step is k = 16."""

    def product(name: str, steps: int, tiles: int, loads_a: int, wavefronts_a: int) -> Stage:
        mma = steps * tiles * 2
        # a tile of weights: 8 bytes per lane, one load, two wavefronts
        wavefronts = steps * (wavefronts_a + 2 * tiles)
        return Stage(name, mma=mma, wavefronts=wavefronts, issue=mma + steps * (loads_a + tiles))

    # conv1: 9 taps are 5 pairs, so 10/9 of the products; pairs are filled up to whole steps. Per
    # step 8 loads of pixel pairs and 2 of their places in the ring.
    stages = [product("conv1", math.ceil(c * KERNEL1 * 5 / 8), WIDTH1 // 8, 10, 10)]
    if kernel2 == 1:  # A is conv1's sums: no load
        stages.append(product("conv2", WIDTH1 // 16, WIDTH2 // 8, 0, 0))
    else:
        stages.append(Stage("hidden1 to shared memory", wavefronts=32, issue=32))
        # two ldmatrix.x4 per step, four wavefronts each
        stages.append(product("conv2", kernel2**2 * WIDTH1 // 16, WIDTH2 // 8, 2, 8))
    # 25 taps are 4 tiles of 8
    stages.append(product("conv3", c * WIDTH2 // 16, 4, 0, 0))
    passes = c * (32 + 25)  # to shared memory, and back
    stages.append(Stage("taps", wavefronts=passes, issue=passes))
    stages.append(Stage("input row", wavefronts=2 * c, issue=2 * c))  # without the bicubic
    return stages


def fma_stages(kernel2: int, c: int) -> list[Stage]:
    """csrc/cuda/forward_fma.cu: a thread has 4 positions, and 8 outputs of conv1 and of conv2."""

    def convolution(name: str, inputs: int, outputs: int, kernel: int) -> Stage:
        rows = inputs * kernel  # of `kernel` taps
        fma = rows * kernel * outputs
        # per thread and row, float4s: of pixels (4 wavefronts a warp) and of weights (the same for
        # the whole warp: 1)
        pixels, weights = math.ceil((4 + kernel - 1) / 4), kernel * 8 / 4
        warps = outputs / 8 / 4  # 4 positions a thread
        return Stage(
            name,
            fma=fma,
            wavefronts=rows * warps * (4 * pixels + weights),
            issue=fma + rows * warps * (pixels + weights),
        )

    def stored(outputs: int) -> Stage:
        return Stage(f"{outputs} channels to shared memory", wavefronts=outputs, issue=outputs / 4)

    # A warp's 4 input channels: 2 float4s of pixels each, 25 of weights (the same for the whole
    # warp) and the sums of 5 rows; these are read by one thread of 8. 2 warps are 32 pixels.
    sums = 5 * 2 * c  # float4s, for all 8 groups of channels
    taps = KERNEL3 * KERNEL3 * WIDTH2 * c
    conv3 = Stage(
        "conv3",
        fma=taps,
        wavefronts=2 * (4 * 2 * 4 + 25 * c) + 2 * 4 * sums,
        issue=taps + 2 * (4 * 2 + 25 * c) + (1 + 1 + 4) * sums,  # a load, a store, 4 additions
    )
    return [
        convolution("conv1", c, WIDTH1, KERNEL1),
        stored(WIDTH1),
        convolution("conv2", WIDTH1, WIDTH2, kernel2),
        # half of the sums to the thread with the other half of the inputs, and back
        Stage("halves of conv2", wavefronts=2 * WIDTH2, issue=2 * WIDTH2 / 4 + WIDTH2),
        stored(WIDTH2),
        conv3,
        Stage("input row", wavefronts=c, issue=c),  # without the bicubic
    ]


# The kernels that cuda_launches names: their counts, and the rate of Gpu that their products go at.
KERNELS: dict[str, tuple[Callable[[int, int], list[Stage]], str]] = {
    "mma": (mma_stages, "mma_16bit"),
    "fma": (fma_stages, "fma"),
}

# ---------------------------------------------------------------- times


@dataclass(frozen=True)
class Estimate:
    """Microseconds per frame, if nothing but that part were slow."""

    gpu: Gpu
    kernel: str
    kernel2: int
    channels: int
    useful: float  # share of the computed positions that are output; the rest is halo
    busy: float  # share of the multiprocessors that have work
    parts: dict[str, float]
    floor: float

    @property
    def bound(self) -> str:
        return max(self.parts, key=lambda part: self.parts[part])


def multiply_adds(kernel2: int, c: int) -> int:
    """Per output pixel, as the papers count."""
    return WIDTH1 * KERNEL1**2 * c + WIDTH1 * WIDTH2 * kernel2**2 + WIDTH2 * KERNEL3**2 * c


def estimate(gpu: Gpu, launch: dict[str, object]) -> Estimate:
    get = {name: value for name, value in launch.items() if isinstance(value, int)}
    kernel, kernel2, c = str(launch["kernel"]), get["kernel2"], get["channels"]
    count, rate_name = KERNELS[kernel]
    stages, rate = count(kernel2, c), getattr(gpu, rate_name)
    # A strip computes its halos; a segment rows above and below (hidden2's, the most expensive).
    rows = get["segment_height"] + 2 * (KERNEL3 // 2)
    positions = get["strips"] * get["columns"] * get["segments"] * rows
    # Blocks share the jobs; the last round may not fill them.
    jobs = get["strips"] * get["segments"]
    rounds = math.ceil(jobs / get["blocks"])
    busy = jobs / (rounds * get["blocks_per_sm"] * gpu.multiprocessors)
    units = positions / 32 / (gpu.multiprocessors * min(1.0, busy)) / gpu.mhz

    mma = sum(stage.mma for stage in stages) * 16 * 8 * 16 / rate
    parts = {
        "tensor cores": mma * units,
        "FMA": sum(stage.fma for stage in stages) * 32 / gpu.fma * units,
        "shared memory": sum(stage.wavefronts for stage in stages) * units * 128 / SHARED_BYTES,
        "issue": sum(stage.issue for stage in stages) / ISSUE * units,
    }
    useful = HEIGHT * WIDTH / positions
    peak = rate * (1.0 if rate_name == "fma" else gpu.peak_over_mma)
    floor = multiply_adds(kernel2, c) * HEIGHT * WIDTH / (peak * gpu.multiprocessors * gpu.mhz)
    return Estimate(gpu, kernel, kernel2, c, useful, min(1.0, busy), parts, floor)


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(estimates: list[Estimate]) -> str:
    parts = list(estimates[0].parts)
    titles = ["GPU", "kernel", "network, channels", "useful", "busy", *parts, "bound", "floor"]
    lines = [row(titles), "|---" * len(titles) + "|"]
    for e in estimates:
        cells = [f"**{e.parts[p]:.0f}**" if p == e.bound else f"{e.parts[p]:.0f}" for p in parts]
        network = f"9-{e.kernel2}-5, {e.channels}"
        shares = [f"{e.useful:.0%}", f"{e.busy:.0%}"]
        lines.append(
            row([e.gpu.name, e.kernel, network, *shares, *cells, e.bound, f"{e.floor:.0f}"])
        )
    return "\n".join(lines)


def assumptions() -> str:
    rates = "multiply-adds per SM and clock: 16 bits, tf32, fp32"
    lines = [row(["GPU", "SMs", "MHz", rates, "from"]), "|---" * 5 + "|"]
    for g in GPUS:
        rates = f"{g.mma_16bit or '-'}, {g.mma_tf32 or '-'}, {g.fma}"
        lines.append(row([g.name, str(g.multiprocessors), str(g.mhz), rates, g.source]))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("launches", type=Path, help="output of cuda_launches")
    parser.add_argument("--write", action="store_true", help="write docs/kernels.md")
    arguments = parser.parse_args()
    by_sm = {gpu.sm: gpu for gpu in GPUS}
    estimates = [
        estimate(by_sm[sm], launch)
        for launch in read_launches(arguments.launches)
        if isinstance(sm := launch["sm"], int) and sm in by_sm
    ]
    text = f"{markdown(estimates)}\n\n{assumptions()}"
    if arguments.write:
        DOCUMENT.write_text(put_between(DOCUMENT.read_text(), "model", text))
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
