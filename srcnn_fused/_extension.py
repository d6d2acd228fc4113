"""Loads the compiled half of the package, or remembers why it cannot be loaded."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch  # noqa: F401  The extension's libraries are found because torch has loaded them.


def _load() -> tuple[ModuleType | None, str | None]:
    try:
        return importlib.import_module("srcnn_fused._C"), None
    except ModuleNotFoundError:
        return None, (
            "the compiled extension srcnn_fused._C is not there: it was not built when the package "
            "was installed; install a C++20 compiler and run `pip install .` again"
        )
    except (ImportError, OSError, RuntimeError) as error:
        # Built for another Python, or its libraries are missing; the first line says which.
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return None, f"the compiled extension srcnn_fused._C does not load: {line}"


_module, _reason = _load()


def available() -> bool:
    """Whether the compiled extension, and so the fused kernels, can be used."""
    return _module is not None


def why_unavailable() -> str | None:
    """One line saying why the compiled extension cannot be used; None where it can."""
    return _reason


def module() -> ModuleType:
    """The module `srcnn_fused._C`. Raises RuntimeError with the reason if there is none."""
    if _module is None:
        raise RuntimeError(_reason)
    return _module
