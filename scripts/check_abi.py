#!/usr/bin/env python3
"""Checks that one built extension runs unchanged under several versions of torch.

    scripts/check_abi.py PYTHON...

Each PYTHON is the interpreter of an environment with its own torch and this package's other
dependencies. The package is taken from wherever the interpreter running this script finds it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHECK = """
import torch
import srcnn_fused
from srcnn_fused import _extension
assert _extension.available(), _extension.why_unavailable()
torch.manual_seed(0)
x = torch.rand(1, 1, 40, 50)
worst = 0.0
for kernel_sizes in ((9, 1, 5), (9, 3, 5), (9, 5, 5)):
    model = srcnn_fused.FusedSRCNN(kernel_sizes=kernel_sizes, scale=3, backend="fused").eval()
    reference = srcnn_fused.FusedSRCNN(kernel_sizes=kernel_sizes, scale=3, backend="reference")
    reference.load_state_dict(model.state_dict())
    with torch.no_grad():
        y, wanted = model(x), reference.double()(x.double())
    assert y.shape == (1, 1, 120, 150), y.shape
    worst = max(worst, (y - wanted).abs().max().item())
info = _extension.module().build_info()
verdict = "ok" if worst <= 1e-5 else "WRONG"
print(f"torch {torch.__version__}: built with {info['torch']}, max error {worst:.1e}: {verdict}")
raise SystemExit(verdict != "ok")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "python", nargs="+", help="interpreter of an environment with another torch"
    )
    arguments = parser.parse_args()

    import srcnn_fused

    package = Path(str(srcnn_fused.__file__)).parent
    failed = 0
    # A link, because the folder beside the package may be a site-packages with a torch of its own.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / package.name).symlink_to(package)
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        for python in arguments.python:
            command = [python, "-c", CHECK]  # away from the source tree, which has no extension
            result = subprocess.run(command, check=False, env=environment, cwd=folder)
            failed += result.returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
