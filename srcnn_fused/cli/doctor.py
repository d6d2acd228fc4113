"""`srcnn-fused doctor`: what was built, what this machine has, which kernel runs, and a check."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from torch import Tensor

# The largest error against the float64 reference that counts as healthy.
_TOLERANCE = 5e-5
# Name, kernel sizes, channels.
_NETWORKS = tuple(
    (f"{f1}-{f2}-{f3}{kind}", (f1, f2, f3), channels)
    for kind, channels in (("", 1), (" rgb", 3))
    for f1, f2, f3 in ((9, 1, 5), (9, 3, 5), (9, 5, 5))
)
_DTYPES = ("float32", "float16", "bfloat16")
_PACKAGES = ("torch", "numpy", "pillow", "safetensors", "torchmetrics", "typer", "rich")
# Flags of /proc/cpuinfo that matter to the kernels.
_CPU_FLAGS = ("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16")


def doctor() -> None:
    """Show what was built, what this machine has, which kernel would run and why, and check it.

    The exit status is 1 where a fused kernel is wrong, or where none can run.
    """
    from .. import _extension

    for title, lines in (
        ("versions", _versions()),
        ("machine", _machine()),
        ("extension", _extension_facts()),
        ("CUDA kernels", _cuda_facts()),
        ("models", _models()),
        *((f"kernels for {dtype}", _kernels(dtype)) for dtype in _DTYPES),
    ):
        _section(title, lines)
    problems = list(_self_check())
    if not _extension.available():
        problems.append(
            "the fused kernels are missing, everything runs on the slower PyTorch reference"
        )
    for problem in problems:
        typer.echo(f"srcnn-fused: error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def _section(title: str, lines: Iterator[tuple[str, str]]) -> None:
    typer.echo(title)
    for name, value in lines:
        typer.echo(f"  {name:<16} {value}")


def _versions() -> Iterator[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    for name in ("srcnn_fused", *_PACKAGES):
        yield name, installed(name)
    yield "python", f"{platform.python_version()} ({sys.executable})"


def _machine() -> Iterator[tuple[str, str]]:
    import torch

    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    name, flags = _cpu()
    yield "CPU", name
    if flags:
        yield "instruction sets", " ".join(flag for flag in _CPU_FLAGS if flag in flags)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "threads", f"{torch.get_num_threads()} used by torch, {usable} processors usable"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            memory = facts.total_memory / 2**30
            yield (
                f"GPU {index}",
                f"{facts.name}, sm_{facts.major}{facts.minor}, {memory:.0f} GiB, "
                f"CUDA {torch.version.cuda}",
            )
    elif torch.version.cuda:
        yield "GPU", f"none that CUDA {torch.version.cuda} can use"
    else:
        yield "GPU", "none used: this PyTorch has no CUDA"


def _cpu() -> tuple[str, set[str]]:
    """Name and feature flags of the CPU, as far as the system tells."""
    name = platform.processor() or platform.machine()
    flags: set[str] = set()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return name, flags
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    return name, flags


def _extension_facts() -> Iterator[tuple[str, str]]:
    from .. import _extension

    if not _extension.available():
        yield "missing", _extension.why_unavailable() or "for a reason unknown"
        return
    module = _extension.module()
    yield from sorted(module.build_info().items())
    yield "can run here", ", ".join(module.cpu_isas())
    forced = os.environ.get("SRCNN_FUSED_CPU_ISA")
    try:
        chosen = module.cpu_isa()
    except (RuntimeError, ValueError) as error:
        chosen = f"none: {next(iter(str(error).splitlines()), '')}"
    why = f"SRCNN_FUSED_CPU_ISA={forced}" if forced else "the fastest that can"
    yield "will run", f"{chosen} ({why})"


def _cuda_facts() -> Iterator[tuple[str, str]]:
    """The architectures in the build, and which of the GPUs they serve."""
    import torch

    from .. import _extension, _gpu

    built = _gpu.built_architectures() if _extension.available() else "none"
    yield "built for", built
    if not torch.cuda.is_available():
        yield "GPU", "none that this PyTorch can use"
        return
    for index in range(torch.cuda.device_count()):
        reason = _gpu.why_not_served(index)
        if built == "none":
            reason = "there are no CUDA kernels"
        yield f"GPU {index}", "served" if reason is None else f"not served: {reason}"


def _models() -> Iterator[tuple[str, str]]:
    from .. import pretrained

    names = pretrained.list_pretrained()
    for name in names:
        try:
            config = pretrained.load(name)[1]
        except (ValueError, OSError) as error:
            yield name, str(error)
            continue
        sizes = "-".join(map(str, config["kernel_sizes"]))
        yield (
            name,
            f"{sizes}, {config['num_channels']} channel(s), scale {config.get('scale')}, "
            f"{config.get('bicubic', 'matlab')}, {config.get('padding_mode', 'zeros')}",
        )
    if not names:
        yield "none", "no pretrained model is installed; `srcnn-fused train` makes one"


def _kernels(dtype_name: str) -> Iterator[tuple[str, str]]:
    """What would run each network; one line where the same reason keeps all from running fused."""
    import torch

    from ..functional import why_not_fused

    dtype = getattr(torch, dtype_name)
    for device in _devices():
        reasons = []
        for _, (f1, f2, f3), channels in _NETWORKS:
            weights = (
                torch.empty(64, channels, f1, f1, device=device, dtype=dtype),
                torch.empty(32, 64, f2, f2, device=device, dtype=dtype),
                torch.empty(channels, 32, f3, f3, device=device, dtype=dtype),
            )
            x = torch.empty(1, channels, 8, 8, device=device, dtype=dtype)
            reasons.append(why_not_fused(x, *weights))
        if reasons[0] is not None and len(set(reasons)) == 1:
            yield f"all on {device}", f"PyTorch reference: {reasons[0]}"
            continue
        for (name, _, _), reason in zip(_NETWORKS, reasons, strict=True):
            path = _fused_path(x) if reason is None else f"PyTorch reference: {reason}"
            yield f"{name} on {device}", path


def _devices() -> Sequence[str]:
    """ "cpu", and every GPU: `cuda` where there is one, `cuda:0`, `cuda:1`, ... otherwise."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", "cuda") if count == 1 else ("cpu", *(f"cuda:{i}" for i in range(count)))


def _fused_path(x: Tensor) -> str:
    import torch

    from .._precision import convolutions_allow_tf32

    if x.device.type != "cuda" or x.dtype != torch.float32:
        return "fused"
    switch = "torch.backends.cudnn.conv.fp32_precision"
    return f"fused, {'TF32 allowed' if convolutions_allow_tf32() else 'no TF32'} ({switch})"


def _self_check() -> Iterator[str]:
    """Run every network and compare with the float64 reference; yields what is wrong."""
    import torch

    from .. import reference

    generator = torch.Generator().manual_seed(0)
    typer.echo("self-check")
    for network, (f1, f2, f3), c in _NETWORKS:
        x = torch.rand(1, c, 37, 29, generator=generator)
        shapes = (64, c, f1, f1), (64,), (32, 64, f2, f2), (32,), (c, 32, f3, f3), (c,)
        weights = [
            torch.randn(shape, generator=generator) / max(1, math.prod(shape[1:])) ** 0.5
            for shape in shapes
        ]
        expected = reference.srcnn(x.double(), *(weight.double() for weight in weights), scale=3)
        for device in _devices():
            name = f"{network} on {device}"
            try:
                path, error_size = _error(x.to(device), [w.to(device) for w in weights], expected)
            except RuntimeError as error:
                line = next(iter(str(error).splitlines()), "")
                typer.echo(f"  {name:<16} failed: {line}")
                yield f"{name} failed: {line}"
                continue
            healthy = error_size <= _TOLERANCE
            typer.echo(
                f"  {name:<16} {'ok' if healthy else 'WRONG'}: {path} differs from the float64 "
                f"reference by at most {error_size:.1e}"
            )
            if not healthy:
                yield f"{name}: an error of {error_size:.1e} is above {_TOLERANCE:.0e}"


def _error(x: Tensor, weights: list[Tensor], expected: Tensor) -> tuple[str, float]:
    """Which path ran these tensors at scale 3, and its largest error."""
    import torch

    from ..functional import srcnn, why_not_fused

    fused = why_not_fused(x, weights[0], weights[2], weights[4]) is None
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        got = srcnn(x, *weights, scale=3, backend="fused" if fused else "reference")
    path = "the fused kernel" if fused else "PyTorch float32"
    return path, (got.cpu().double() - expected).abs().max().item()
