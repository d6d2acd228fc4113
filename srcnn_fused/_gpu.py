"""Which GPUs the compiled CUDA kernels serve, by the architectures that they were built for."""

from __future__ import annotations

import functools
import re

import torch

from . import _extension
from ._compiling import constant_in_a_graph

# An entry of TORCH_CUDA_ARCH_LIST: 9.0, 9.0a (exactly this chip), 10.0f (its family), 12.0+PTX.
_ENTRY = re.compile(r"(\d+)\.(\d)([af]?)(\+PTX)?")


def built_architectures() -> str:
    """As in TORCH_CUDA_ARCH_LIST: `7.5;8.0;12.0+PTX`; `none` in a build without CUDA kernels."""
    return str(_extension.module().build_info()["cuda_archs"])


def serves(architectures: str, capability: tuple[int, int]) -> bool:
    """Whether a build for these architectures runs on a GPU of this compute capability.

    Machine code runs on the same major version from its minor version on, PTX also on every later
    GPU. An entry that is a name ("Hopper") is torch's business: it counts as serving, and the call
    will tell.
    """
    major, minor = capability
    for entry in re.split(r"[;,\s]+", architectures.strip()):
        found = _ENTRY.fullmatch(entry)
        if found is None:
            if entry not in ("", "none"):
                return True
            continue
        built = (int(found[1]), int(found[2]))
        if built == capability:
            return True
        if found[3] == "a":
            continue
        if built[0] == major and built[1] <= minor:
            return True
        if found[3] == "" and found[4] and built <= capability:
            return True
    return False


@functools.cache
def _capability(index: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


# A compiled graph is made for one GPU, of which this is a fact.
@constant_in_a_graph
def why_not_served(index: int | None) -> str | None:
    """Why the CUDA kernels of this build cannot run on the GPU, or None where they can.

    None is the current GPU. Where torch sees no GPU, as with fake tensors, there is nothing to say.
    """
    if not torch.cuda.is_available():
        return None
    capability = _capability(torch.cuda.current_device() if index is None else index)
    architectures = built_architectures()
    if serves(architectures, capability):
        return None
    major, minor = capability
    return (
        f"this build has CUDA kernels for {architectures} and none for this GPU, which is "
        f"sm_{major}{minor}; reinstall with TORCH_CUDA_ARCH_LIST={major}.{minor}"
    )
