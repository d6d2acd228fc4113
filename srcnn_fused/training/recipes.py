"""Recipes: TOML files with settings of :class:`TrainConfig`, shipped or the user's own.

A recipe is one flat table; its keys are the names of the settings, and ``description`` says what it
is in a line. Where the images are and where the run goes is no part of it.
"""

from __future__ import annotations

import difflib
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ..errors import UserError
from .config import TrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["list_recipes", "load_recipe", "write_recipe"]

_FOLDER = Path(__file__).resolve().parents[1] / "recipes"
_ELSEWHERE = frozenset(("data", "val", "out", "device"))
_KINDS: dict[str, type] = {
    item.name: int
    if item.default is MISSING
    else str
    if item.default is None
    else type(item.default)
    for item in fields(TrainConfig)
    if item.name not in _ELSEWHERE
}
_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def list_recipes() -> dict[str, str]:
    """The shipped recipes: name -> description."""
    paths = sorted(_FOLDER.glob("*.toml"))
    return {path.stem: str(_read(path).get("description", "")) for path in paths}


def load_recipe(name_or_path: str) -> dict[str, Any]:
    """The settings of a shipped recipe, or of a file: arguments of TrainConfig.

    Raises:
        UserError: no such recipe or file, no TOML, an unknown key, or a value of a wrong type.
    """
    path = _find(name_or_path)
    settings = {}
    for key, value in _read(path).items():
        if key == "description":
            continue
        if key in _ELSEWHERE:
            raise UserError(f"recipe {path}: {key} is no part of a recipe; give it as a flag")
        if key not in _KINDS:
            close = difflib.get_close_matches(key, _KINDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(_KINDS)}"
            raise UserError(f"recipe {path}: there is no setting {key!r}; {hint}")
        settings[key] = _as(_KINDS[key], key, value, path)
    return settings


def write_recipe(name_or_path: str, target: Path) -> None:
    """Copy a recipe, comments and all, to a file that does not exist yet, for editing.

    Raises:
        UserError: no such recipe, the file exists, or it cannot be written.
    """
    source = _find(name_or_path)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise UserError(f"{target} exists already: --write-recipe writes new files only") from None
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}") from None


def _find(name_or_path: str) -> Path:
    shipped = _FOLDER / f"{name_or_path}.toml"
    if name_or_path in list_recipes():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = ", ".join(list_recipes())
    raise UserError(f"no recipe {name_or_path!r}: no such file, and the shipped ones are: {known}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path} is no TOML: {error}") from None
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror}") from None
    return content


def _as(kind: type, key: str, value: Any, path: Path) -> Any:
    """The value, if it is of the setting's type; an integer will do for a number."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"recipe {path}: {key} must be {_NAMES[kind]}, got {value!r}")
    return value
