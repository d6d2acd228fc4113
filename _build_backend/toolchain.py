"""Finds the C++ and CUDA compilers, and says in one line what it found. Imports neither torch nor setuptools."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Needs the language level, a standard library to match, and the Python headers: what a build most often lacks.
PROBE = "#include <Python.h>\n#include <concepts>\n#include <span>\nint main() { return std::span<int>().size(); }\n"

# Turing has no bf16 and no tf32; newer chips than the last one named run its PTX.
CUDA_ARCHITECTURES = "8.0;8.6;8.9;9.0;10.0;12.0+PTX"
CUDA_ARCHITECTURES_BEFORE_12_8 = "8.0;8.6;8.9;9.0+PTX"


@cache
def find_compiler() -> tuple[str | None, str]:
    """(version line of the C++ compiler, "") or (None, why there is none that can build the extension)."""
    command = shlex.split(os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++")
    program = shutil.which(command[0])
    if program is None:
        return None, f"no C++ compiler ('{command[0]}' was not found; CXX names another)"
    include = sysconfig.get_path("include")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(PROBE)
        options = ["-std=c++20", f"-I{include}", "-fsyntax-only", str(source)]
        probe = subprocess.run([program, *command[1:], *options], capture_output=True, text=True)
    if probe.returncode:
        lines = [line for line in probe.stderr.splitlines() if "error" in line] or [
            probe.stderr.strip()
        ]
        return (
            None,
            f"'{program}' cannot compile C++20 with the Python headers in {include} ({lines[0]})",
        )
    version = subprocess.run([program, *command[1:], "--version"], capture_output=True, text=True)
    return (version.stdout.splitlines() or [program])[0], ""


@dataclass(frozen=True)
class Cuda:
    """The CUDA toolkit to build with."""

    home: str
    version: tuple[int, int]

    @property
    def architectures(self) -> str:
        """As TORCH_CUDA_ARCH_LIST."""
        chosen = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(" ", ";")
        default = CUDA_ARCHITECTURES if self.version >= (12, 8) else CUDA_ARCHITECTURES_BEFORE_12_8
        return chosen or default


def find_cuda(sources: list[str]) -> tuple[Cuda | None, str]:
    """The toolkit for the CUDA sources (or None), and the line that explains the choice. Raises RuntimeError where
    SRCNN_FUSED_CUDA=1 cannot be met."""
    wish = os.environ.get("SRCNN_FUSED_CUDA", "auto") or "auto"
    if wish not in ("0", "1", "auto"):
        raise RuntimeError(f"SRCNN_FUSED_CUDA must be 0, 1 or auto, got '{wish}'")
    if wish == "0":
        return None, "CPU only (SRCNN_FUSED_CUDA=0)"
    toolkit = _cuda_toolkit() if sources else None
    reason = (
        "no nvcc was found; CUDA_HOME names the toolkit"
        if sources
        else "this version has no CUDA kernels"
    )
    if toolkit is None and wish == "1":
        raise RuntimeError(f"SRCNN_FUSED_CUDA=1, but {reason}")
    if toolkit is None:
        return None, f"CPU only ({reason})"
    version = ".".join(map(str, toolkit.version))
    return toolkit, f"CPU and CUDA {version} from {toolkit.home} for {toolkit.architectures}"


def _cuda_toolkit() -> Cuda | None:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = shutil.which(str(Path(home) / "bin" / "nvcc")) if home else shutil.which("nvcc")
    nvcc = nvcc or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        return None
    release = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"release (\d+)\.(\d+)", release)
    # The nvcc on PATH may be a link or a script: nvcc itself knows where its toolkit is.
    dry_run = subprocess.run(
        [nvcc, "-dryrun", "-x", "cu", os.devnull], capture_output=True, text=True
    ).stderr
    top = re.search(r"^#\$ TOP=(.*)$", dry_run, re.MULTILINE)
    if version is None or top is None:
        return None
    return Cuda(os.path.realpath(top.group(1)), (int(version.group(1)), int(version.group(2))))
