"""Reads csrc/sources.txt, which CMakeLists.txt reads too."""

from __future__ import annotations

from pathlib import Path

SECTIONS = ("torch", "native", "cuda")


def read_sources(path: Path) -> dict[str, list[str]]:
    """Section -> its files, relative to the folder above `path`'s (the repository)."""
    sources: dict[str, list[str]] = {section: [] for section in SECTIONS}
    section = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[]")
            if section not in sources:
                raise ValueError(
                    f"{path}:{number}: unknown section '{section}', expected one of {SECTIONS}"
                )
        elif line and not section:
            raise ValueError(f"{path}:{number}: '{line}' stands before the first section")
        elif line:
            sources[section].append(f"{path.parent.name}/{line}")
    return sources
