"""SRCNN as one fused operation: bicubic enlargement and three convolutions, for PyTorch.

    import srcnn_fused
    model = srcnn_fused.FusedSRCNN.from_pretrained("9-1-5-x3")
    high = model(low)  # [N, 1, h, w] luma in [0, 1] -> [N, 1, 3h, 3w]

The public names below are loaded when first used, because loading them loads torch, for which the
command line's `--help` has no use. `import srcnn_fused.ops` by itself registers
`torch.ops.srcnn_fused`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from . import functional, ops, reference
    from .functional import bicubic_resize, srcnn
    from .modules import FusedSRCNN
    from .pretrained import list_pretrained

__all__ = [
    "FusedSRCNN",
    "__version__",
    "bicubic_resize",
    "functional",
    "list_pretrained",
    "ops",
    "reference",
    "srcnn",
]

_HOMES = {
    "FusedSRCNN": "modules",
    "bicubic_resize": "functional",
    "list_pretrained": "pretrained",
    "srcnn": "functional",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name == "__version__":
        try:
            value = importlib.metadata.version("srcnn_fused")
        except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
            value = "unknown"
    elif name in ("functional", "ops", "reference"):
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
