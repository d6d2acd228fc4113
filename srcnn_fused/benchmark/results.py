"""Results as their JSON files have them; bench/README.md lists the keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._files import replacing
from . import machine
from .cases import WrongOutput
from .peers import Unavailable

SCHEMA = 1


def new_result(kind: str, **settings: Any) -> dict[str, Any]:
    """The head of a result; its cases are still to come."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "machine": machine.describe(),
        "settings": settings,
        "cases": [],
    }


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Writes a result file, with its folder; an old one stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def attempt(name: str, check: Callable[[str], float]) -> dict[str, Any]:
    """One contender's entry as in the JSON: its largest error, by check(name), or why none."""
    try:
        return {"name": name, "status": "ok", "max_error": check(name)}
    except Unavailable as error:
        status, reason = "skipped", str(error)
    except WrongOutput as error:
        status, reason = "wrong", str(error)
    except Exception as error:  # a peer that breaks here must not hide the others
        status, reason = "failed", first_line(error)
    return {"name": name, "status": status, "reason": reason}


def exit_status(result: dict[str, Any]) -> int:
    """1 if a contender gave wrong output or failed; one that is not installed is no failure."""
    statuses = {entry["status"] for case in result["cases"] for entry in case["contenders"]}
    return int(bool(statuses & {"wrong", "failed"}))


def setting(result: dict[str, Any], case: dict[str, Any], key: str) -> Any:
    """A setting of one case: its own where cases differ, else the run's."""
    return case.get(key, result["settings"].get(key))


def first_line(error: BaseException) -> str:
    """An exception as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
