"""PEP 517 backend: setuptools, with the torch of the environment that is being installed into.

Build isolation hides that torch, and a second one of several gigabytes would be downloaded only to
read its headers. `sysconfig` still names the site-packages of the environment whose interpreter
runs the build, so it is appended to `sys.path` (behind the build's own packages, which stay
first). Only where no fitting torch lies there is one asked for.
"""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
from pathlib import Path
from typing import Any

import setuptools
from setuptools import build_meta

from .toolchain import Compiler, find_compiler

if int(setuptools.__version__.split(".")[0]) < 77:  # possible without build isolation
    raise SystemExit(
        "srcnn_fused: error: building needs setuptools>=77, this environment has "
        f"{setuptools.__version__} (pip install -U setuptools)"
    )

MINIMUM_TORCH = (2, 10)
TORCH_REQUIREMENT = "torch>=2.10"

build_sdist = build_meta.build_sdist
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist


def environment_paths() -> list[str]:
    """site-packages of the environment installed into, and of its base where it looks there too."""
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if sys.prefix != sys.base_prefix:
        try:
            lines = (Path(sys.prefix) / "pyvenv.cfg").read_text().lower().split("\n")
        except OSError:
            lines = []
        if any(line.replace(" ", "") == "include-system-site-packages=true" for line in lines):
            base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
            paths += [sysconfig.get_path(name, vars=base) for name in ("purelib", "platlib")]
    return list(dict.fromkeys(paths))


def add_environment() -> None:
    sys.path.extend(path for path in environment_paths() if path not in sys.path)


def has_torch() -> bool:
    """Whether a torch new enough to build against can be imported as things stand."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in version.split(".")[:2]) >= MINIMUM_TORCH


def build_requirements() -> list[str]:
    """What the build needs beyond pyproject.toml: torch, unless it is there or goes unused."""
    add_environment()
    compiles = isinstance(find_compiler(), Compiler)
    return [TORCH_REQUIREMENT] if compiles and not has_torch() else []


# setuptools would run setup.py to learn these, but setup.py needs the torch that is asked for here.
def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return build_requirements()


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return build_requirements()


def prepare_metadata_for_build_wheel(directory: str, config_settings: Any = None) -> str:
    add_environment()
    return build_meta.prepare_metadata_for_build_wheel(directory, config_settings)


def prepare_metadata_for_build_editable(directory: str, config_settings: Any = None) -> str:
    add_environment()
    return build_meta.prepare_metadata_for_build_editable(directory, config_settings)


def build_wheel(
    directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    add_environment()
    return build_meta.build_wheel(directory, config_settings, metadata_directory)


def build_editable(
    directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    add_environment()
    return build_meta.build_editable(directory, config_settings, metadata_directory)
