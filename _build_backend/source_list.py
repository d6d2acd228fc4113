"""Reads csrc/sources.txt, which CMakeLists.txt reads too."""

from __future__ import annotations

from pathlib import Path

SECTIONS = ("torch", "native", "cuda")


def read_sources(path: Path) -> dict[str, list[str]]:
    """Section -> its files, each with the folder of `path` in front: `csrc/ops.cpp`."""
    sources: dict[str, list[str]] = {section: [] for section in SECTIONS}
    section = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry.startswith("["):
            section = entry.strip("[]")
            if section not in sources:
                known = ", ".join(SECTIONS)
                raise ValueError(f"{path}:{number}: section must be one of {known}, got {section}")
        elif entry and section is None:
            raise ValueError(f"{path}:{number}: {entry} stands before the first section")
        elif entry:
            sources[str(section)].append(f"{path.parent.name}/{entry}")
    return sources
