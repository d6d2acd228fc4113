"""Builds `srcnn_fused._C`; everything else about the package is in pyproject.toml.

Environment: SRCNN_FUSED_CUDA=0|1|auto, TORCH_CUDA_ARCH_LIST, CUDA_HOME, CXX, MAX_JOBS, and
SRCNN_FUSED_REQUIRE_EXTENSION=1, which makes it an error that there is no C++ compiler.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

from setuptools import setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a PEP 517 front end need not have put it there

from _build_backend.source_list import read_sources  # noqa: E402
from _build_backend.toolchain import Compiler, Cuda, find_compiler, find_cuda  # noqa: E402

# The LibTorch stable ABI as of 2.10: the binary runs under every later torch.
TORCH_TARGET_VERSION = "0x020a000000000000"
CXX_FLAGS = ["-O3", "-std=c++20", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-g0"]
NVCC_FLAGS = ["-O3", "-std=c++20", "-lineinfo", "-Xcompiler=-fvisibility=hidden"]


def say(line: str) -> None:
    print(f"srcnn_fused: {line}", file=sys.stderr, flush=True)


def fail(line: str) -> NoReturn:
    raise SystemExit(f"srcnn_fused: error: {line}")


def package_version() -> str:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("pyproject.toml has no line 'version = \"...\"'")
    return found.group(1)


def build_facts(compiler: Compiler, cuda: Cuda | None) -> list[tuple[str, str]]:
    """Macros from which `_C.build_info()` is made."""
    import torch

    facts = {
        "SRCNN_FUSED_VERSION": package_version(),
        "SRCNN_FUSED_BUILD_TORCH": torch.__version__,
        "SRCNN_FUSED_BUILD_PYTHON": ".".join(map(str, sys.version_info[:3])),
        "SRCNN_FUSED_BUILD_COMPILER": compiler.version,
        "SRCNN_FUSED_BUILD_FLAGS": " ".join(CXX_FLAGS),
        "SRCNN_FUSED_BUILD_CUDA": ".".join(map(str, cuda.version)) if cuda else "none",
        "SRCNN_FUSED_BUILD_CUDA_ARCHS": cuda.architectures if cuda else "none",
    }
    quoted = {name: '"' + re.sub(r'["\\]', "", value) + '"' for name, value in facts.items()}
    flags = ["SRCNN_FUSED_WITH_CUDA"] if cuda else []
    if cuda and "9.0a" in cuda.architectures:
        flags.append("SRCNN_FUSED_SM90A")  # there will be code for what only Hopper has
    return [*quoted.items(), *((flag, "1") for flag in flags)]


def extension(cuda: Cuda | None, sources: list[str], facts: list[tuple[str, str]]) -> Any:
    from torch.utils import cpp_extension

    # Assertions in headers hold their file's name: none of this machine's folders in the binary.
    torch_folder = Path(cpp_extension.__file__).resolve().parents[1]
    maps = [f"-ffile-prefix-map={ROOT}=srcnn_fused", f"-ffile-prefix-map={torch_folder}=torch"]
    nvcc_flags = [*NVCC_FLAGS, "-ccbin", shlex.split(os.environ["CXX"])[0]]
    module = cpp_extension.CppExtension(
        "srcnn_fused._C",
        sources,
        include_dirs=[str(ROOT / "csrc")],  # pybind11's headers come with torch's
        define_macros=[("TORCH_TARGET_VERSION", TORCH_TARGET_VERSION), *facts],
        extra_compile_args={"cxx": [*CXX_FLAGS, *maps], "nvcc": nvcc_flags},
    )
    # Only the stable ABI may be reached, so the libraries that offer the other one are not linked.
    module.libraries = [name for name in module.libraries if name not in ("c10", "torch_python")]
    if cuda:
        # torch leaves CUDA_HOME unset where it is CPU-only, and insists on its own CUDA version
        # where it is not: with the stable ABI and a static cudart neither matters.
        cpp_extension.CUDA_HOME = cuda.home
        cpp_extension._check_cuda_version = lambda *_: None
        os.environ["TORCH_CUDA_ARCH_LIST"] = cuda.architectures
        module.include_dirs.append(str(Path(cuda.home) / "include"))
        module.library_dirs.append(str(Path(cuda.home) / "lib64"))
        module.libraries += ["cudart_static", "rt", "dl", "pthread"]
        # Nothing refers to libtorch itself, yet it is what brings in torch's CUDA half.
        module.extra_link_args += ["-Wl,--no-as-needed", "-ltorch"]
    return module


def extension_arguments() -> dict[str, Any]:
    """What setup() needs to build the extension; nothing where there is no compiler for it."""
    compiler = find_compiler()
    if isinstance(compiler, str):
        if os.environ.get("SRCNN_FUSED_REQUIRE_EXTENSION") == "1":
            fail(f"{compiler}, and SRCNN_FUSED_REQUIRE_EXTENSION=1")
        say(f"{compiler}: installing without the extension, on the slow reference path")
        return {}
    os.environ["CXX"] = compiler.command  # torch and distutils look for it in different places
    listed = read_sources(ROOT / "csrc" / "sources.txt")
    try:
        cuda, choice = find_cuda(listed["cuda"])
        from torch.utils.cpp_extension import BuildExtension
    except RuntimeError as error:
        fail(str(error))
    except ImportError as error:
        fail(f"building needs torch>=2.10 ({error})")
    say(f"building the extension for {choice}, with {compiler.version}")
    sources = listed["torch"] + listed["native"] + (listed["cuda"] if cuda else [])
    return {
        "ext_modules": [extension(cuda, sources, build_facts(compiler, cuda))],
        "cmdclass": {"build_ext": BuildExtension},
    }


# Metadata and source archives need neither a compiler nor torch.
BUILDING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "develop", "install"}
setup(**(extension_arguments() if BUILDING & set(sys.argv) else {}))
