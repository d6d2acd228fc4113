"""Finds the C++ and CUDA compilers. Imports neither torch nor setuptools."""

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

# What a build most often lacks: the language level, a library to match it, the Python headers.
PROBE = """
#include <Python.h>
#include <concepts>
#include <span>
int main() { return std::span<int>().size(); }
"""

# From Turing on, the oldest that CUDA 13 knows; newer chips than the last run the newest PTX.
CUDA_ARCHITECTURES = "7.5;8.0;8.6;8.9;9.0a;10.0;12.0+PTX"
CUDA_ARCHITECTURES_BEFORE_12_8 = "7.5;8.0;8.6;8.9+PTX;9.0a"
# Hopper's own instructions are in sm_90a alone, whose code and PTX no other chip runs.
HOPPER = {"9.0": "9.0a", "9.0+PTX": "9.0a;9.0+PTX", "9.0a+PTX": "9.0a", "Hopper": "9.0a;9.0+PTX"}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


@dataclass(frozen=True)
class Compiler:
    """The C++ compiler to build with."""

    command: str  # as in CXX
    version: str


@cache
def find_compiler() -> Compiler | str:
    """The C++ compiler, or one line saying why none can build the extension.

    CXX names it; without CXX it is the one that built Python, or else any that is there.
    """
    wished = os.environ.get("CXX")
    names = [wished] if wished else [sysconfig.get_config_var("CXX"), "c++", "g++", "clang++"]
    commands = [shlex.split(name) for name in names if name]
    command = next((words for words in commands if shutil.which(words[0])), None)
    if command is None:
        return "no C++ compiler" + (f" (CXX={wished} was not found)" if wished else "")
    include = sysconfig.get_path("include")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(PROBE)
        probe = _run(*command, "-std=c++20", f"-I{include}", "-fsyntax-only", str(source))
    if probe.returncode:
        errors = [line for line in probe.stderr.splitlines() if "error" in line]
        reason = re.sub(r"^.*?error: ", "", errors[0]) if errors else f"exit {probe.returncode}"
        return f"'{shlex.join(command)}' cannot compile C++20 with Python's headers ({reason})"
    lines = _run(*command, "--version").stdout.splitlines()
    return Compiler(shlex.join(command), lines[0] if lines else command[0])


@dataclass(frozen=True)
class Cuda:
    """The CUDA toolkit to build with."""

    home: str
    version: tuple[int, int]

    @property
    def architectures(self) -> str:
        """As TORCH_CUDA_ARCH_LIST, with sm_90a in place of sm_90."""
        chosen = re.split(r"[ ;,]+", os.environ.get("TORCH_CUDA_ARCH_LIST", "").strip(" ;,"))
        if chosen != [""]:
            return ";".join(HOPPER.get(name, name) for name in chosen)
        return CUDA_ARCHITECTURES if self.version >= (12, 8) else CUDA_ARCHITECTURES_BEFORE_12_8


def find_cuda(sources: list[str]) -> tuple[Cuda | None, str]:
    """The toolkit for these CUDA sources, if any, and the line that explains the choice.

    Raises RuntimeError where SRCNN_FUSED_CUDA=1 cannot be met.
    """
    wish = os.environ.get("SRCNN_FUSED_CUDA") or "auto"
    if wish not in ("0", "1", "auto"):
        raise RuntimeError(f"SRCNN_FUSED_CUDA must be 0, 1 or auto, got '{wish}'")
    if wish == "0":
        return None, "CPU only (SRCNN_FUSED_CUDA=0)"
    if not sources:
        toolkit, problem = None, "this version has no CUDA kernels"
    else:
        toolkit, problem = _cuda_toolkit(), "no nvcc was found; CUDA_HOME names the toolkit"
    if toolkit:
        version = ".".join(map(str, toolkit.version))
        return toolkit, f"CPU and CUDA {version} from {toolkit.home} for {toolkit.architectures}"
    if wish == "1":
        raise RuntimeError(f"SRCNN_FUSED_CUDA=1, but {problem}")
    return None, f"CPU only ({problem})"


def _cuda_toolkit() -> Cuda | None:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [f"{home}/bin/nvcc"] if home else ["nvcc", "/usr/local/cuda/bin/nvcc"]
    nvcc = next(filter(None, map(shutil.which, places)), None)
    if nvcc is None:
        return None
    version = re.search(r"release (\d+)\.(\d+)", _run(nvcc, "--version").stdout)
    # The nvcc on PATH may be a link or a script: nvcc itself knows where its toolkit is.
    dry_run = _run(nvcc, "-dryrun", "-x", "cu", os.devnull).stderr
    top = re.search(r"^#\$ TOP=(.*)$", dry_run, re.MULTILINE)
    if version is None or top is None:
        return None
    return Cuda(os.path.realpath(top.group(1)), (int(version.group(1)), int(version.group(2))))
