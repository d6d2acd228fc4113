"""Calls of the fused op for a profiler to look at: one a network, at 1920x1080 in float16.

ncu --kernel-name regex:srcnn python -m bench.gpu.profile
"""

from __future__ import annotations

import argparse
import sys

import torch

from srcnn_fused.benchmark import peers
from srcnn_fused.benchmark.cases import NETWORKS
from srcnn_fused.benchmark.peers import Setup

from .cases import PRECISIONS, parse_shape, plan


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.profile", description=__doc__)
    parser.add_argument("--shape", type=parse_shape, default=parse_shape("1920x1080"))
    parser.add_argument("--precision", choices=PRECISIONS, default="float16")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args(argv)
    device = torch.device(args.device)
    for case in plan([args.shape], args.network, [args.precision], channels=1):
        with case.precision.active():
            x = case.case.make_input().to(device, case.precision.dtype)
            setup = Setup(case.make_network(device), x, case.case.scale, torch.get_num_threads())
            output = peers.fused(setup)(x)
        print(f"{case.title}: mean {output.float().mean().item():.6f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
