"""How far every route through the CPU kernels is from float64, with trained weights on images.

    python -m bench.accuracy --data DIR/Set5 --json bench/results/NAME.json

A route is an algorithm (direct, or Winograd in two ways), an instruction set and a dtype. Each
enlarges every image by the papers' protocol; its largest difference from the float64 reference of
the same weights and the same input is taken, and how far the mean PSNR moves from what float64
gives.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from srcnn_fused import FusedSRCNN, _extension, metrics
from srcnn_fused.benchmark import results, tables
from srcnn_fused.benchmark.cases import TOLERANCES
from srcnn_fused.benchmark.peers import Unavailable
from srcnn_fused.errors import UserError
from srcnn_fused.evaluate import Sample, load_samples, shave, to_8_bits
from srcnn_fused.functional import why_not_fused

from .environment import overridden

MODELS = ("9-1-5-x2", "9-1-5-x3", "9-1-5-x4")
ALGORITHMS = ("direct", "winograd", "pixels")
_ALGORITHM_VARIABLE, _ISA_VARIABLE = "SRCNN_FUSED_CPU_ALGO", "SRCNN_FUSED_CPU_ISA"


@dataclass(frozen=True)
class Route:
    """One way through the kernels."""

    algorithm: str
    isa: str
    dtype: str

    @property
    def title(self) -> str:
        """ "winograd, avx512, float32"."""
        return f"{self.algorithm}, {self.isa}, {self.dtype}"

    def forced(self) -> contextlib.AbstractContextManager[None]:
        """Makes the op take this route; it reads the variables at every call."""
        return overridden({_ALGORITHM_VARIABLE: self.algorithm, _ISA_VARIABLE: self.isa})


def routes() -> list[Route]:
    """All routes that this machine's CPU can take. Raises RuntimeError without the extension."""
    return [
        Route(algorithm, isa, dtype)
        for dtype in TOLERANCES
        for algorithm in ALGORITHMS
        for isa in _extension.module().cpu_isas()
    ]


def _psnr(output: Tensor, sample: Sample, border: int) -> float:
    """Of a network's output [1, 1, H, W], by the papers' protocol, in dB."""
    image = to_8_bits(output[0])[0]
    return metrics.psnr(shave(image, border, sample.name), shave(sample.truth, border, sample.name))


def measure(
    route: Route, model: FusedSRCNN, samples: list[Sample], wanted: list[Tensor], scale: int
) -> dict[str, float]:
    """Largest error and PSNR of one route. Raises Unavailable where the kernels do not have it."""
    dtype = getattr(torch, route.dtype)
    network = copy.deepcopy(model).to(dtype)
    convs = (network.conv1.weight, network.conv2.weight, network.conv3.weight)
    error, psnr = 0.0, []
    for sample, want in zip(samples, wanted, strict=True):
        x = sample.low.to(dtype)
        reason = why_not_fused(x, *convs)
        if reason is not None:
            raise Unavailable(reason)
        with route.forced(), torch.inference_mode():
            output = network(x)
        difference = (output.double() - want).abs().max().item()
        error = max(error, difference if math.isfinite(difference) else math.inf)
        psnr.append(_psnr(output, sample, scale))
    return {"max_error": error, "psnr": math.fsum(psnr) / len(psnr)}


def measure_model(name: str, folder: Path, on_route: Callable[[str], None]) -> dict[str, Any]:
    """One model's entry of the JSON."""
    model = FusedSRCNN.from_pretrained(name, backend="fused").eval()
    if model.scale is None:
        raise UserError(f"--model {name}: has no scale")
    scale = model.scale
    samples = load_samples(
        folder, scale, bicubic=model.bicubic, num_channels=model.conv1.in_channels
    )
    exact = FusedSRCNN.from_pretrained(name, backend="reference").double().eval()
    with torch.inference_mode():
        wanted = [exact(sample.low.double()) for sample in samples]
    psnr = [_psnr(want, sample, scale) for want, sample in zip(wanted, samples, strict=True)]
    mean = math.fsum(psnr) / len(psnr)
    entries = []
    for route in routes():
        on_route(f"{name}: {route.title}")
        entry: dict[str, Any] = {"name": route.title, "status": "ok"}
        try:
            entry |= measure(route, model, samples, wanted, scale)
            entry["psnr_difference"] = entry["psnr"] - mean
            if entry["max_error"] > TOLERANCES[route.dtype]:
                entry |= {"status": "wrong", "reason": f"an error of {entry['max_error']:.1e}"}
        except Unavailable as error:
            entry |= {"status": "skipped", "reason": str(error)}
        entries.append(entry)
    return {"model": name, "psnr": mean, "images": len(samples), "contenders": entries}


def show(result: dict[str, Any], console: Console) -> None:
    """Prints one table a model."""
    for case in result["cases"]:
        title = (
            f"{case['model']}, {result['settings']['dataset']}: {case['psnr']:.2f} dB in float64"
        )
        table = Table(title=title, title_justify="left")
        for name in ("algorithm", "instruction set", "dtype"):
            table.add_column(name)
        for name in ("max error", "PSNR, dB from float64's"):
            table.add_column(name, justify="right")
        reasons: dict[str, None] = {}
        for entry in case["contenders"]:
            cells = entry["name"].split(", ")
            if entry["status"] == "skipped":
                reasons[entry["reason"]] = None
                table.add_row(*cells, "skipped")
                continue
            table.add_row(*cells, f"{entry['max_error']:.1e}", f"{entry['psnr_difference']:+.1e}")
        console.print(table)
        for reason in reasons:
            console.print(f"skipped: {reason}", markup=False, highlight=False)
    console.print(tables.headline(result), markup=False, highlight=False)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of images")
    parser.add_argument("--model", nargs="+", default=list(MODELS), help=f"default: {MODELS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    args = parser.parse_args(argv)
    if (reason := _extension.why_unavailable()) is not None:
        parser.error(reason)
    result = results.new_result("accuracy", dataset=args.data.resolve().name)
    with Console(stderr=True).status("measuring") as status:
        try:
            result["cases"] += [measure_model(n, args.data, status.update) for n in args.model]
        except (UserError, ValueError, OSError) as error:
            parser.error(str(error))
    if args.json:
        results.write_json(args.json, result)
    show(result, Console())
    return results.exit_status(result)


if __name__ == "__main__":
    sys.exit(main())
