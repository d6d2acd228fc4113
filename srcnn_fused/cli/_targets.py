"""Whether a file can be written, asked before the work that makes it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError

__all__ = ["check_folder_of", "check_target"]


def check_target(path: Path, *, overwrite: bool, option: str = "") -> None:
    """Raises UserError, naming ``option`` if given, where ``path`` must not be written over."""
    shown = f"{option} {path}".lstrip()
    if path.is_dir():
        raise UserError(f"{shown}: is a folder; the output must be a file")
    if path.exists() and not overwrite:
        raise UserError(f"{shown}: exists already; --overwrite replaces it")


def check_folder_of(path: Path, *, option: str) -> None:
    """Raises UserError where no file can be made beside ``path``."""
    folder = path.parent
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{option} {path}: cannot be written: the folder {folder} {what}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{option} {path}: cannot be written: no permission for folder {folder}")
