"""Measurements of srcnn_fused against what a user would otherwise run. See bench/README.md.

Run from the repository's root (`python -m bench.compare`), where Python would import the package
from the source tree, without its extension unless that was built in place. The installed package
comes first instead; the source tree serves where there is none.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
if sys.path and Path(sys.path[0]).resolve() == _ROOT:
    sys.path.append(sys.path.pop(0))
