"""Writing files so that a failure half way leaves the old file, or none, and never half a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary name in path's own folder; it becomes path when the block succeeds.

    The name keeps path's suffix, because writers choose their format by it. The temporary file is
    removed when the block raises, Ctrl-C included.

    Example:
        with replacing("out.png") as temporary:
            image.save(temporary)
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
