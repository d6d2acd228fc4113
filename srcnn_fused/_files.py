"""Writing files so that a failure half way leaves the old file, or none, and never half a file."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary name in path's own folder; it becomes path when the block succeeds.

    As with open(): a link is followed, a file that exists keeps its permissions, and a new one gets
    those of the umask. The name keeps path's suffix, because writers choose their format by it; the
    rest is random and short, whatever else is written at the same time. The temporary file is
    removed when the block raises, Ctrl-C included.

    Example:
        with replacing("out.png") as temporary:
            image.save(temporary)
    """
    target = Path(os.path.realpath(path))
    # Not tempfile's: those files are private, and the umask cannot be read without setting it.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp{Path(path).suffix}")
    try:
        yield temporary
        if target.exists():
            with contextlib.suppress(OSError):  # a file system without permissions
                shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
