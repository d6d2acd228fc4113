"""What `upscale` is going to read and write, settled before any pixel is touched."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..imaging import WRITABLE
from ..video.suffixes import VIDEO_SUFFIXES, is_video

__all__ = ["Job", "Plan", "make_plan"]

# What a folder is searched for; a file named by the user may have any suffix.
_READABLE = (
    *WRITABLE,
    *(".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm"),
    *(".qoi", ".tga"),
    *VIDEO_SUFFIXES,
)


@dataclass(frozen=True)
class Job:
    """One file to read and one to write."""

    source: Path
    target: Path


@dataclass
class Plan:
    """Jobs in the order of the inputs, and files that are outputs of others and were left out."""

    jobs: list[Job] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    path: Path
    root: Path  # the folder whose structure is kept under an output folder
    named: bool  # by the user, as opposed to found in a folder or by a pattern


def make_plan(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffix: str,
    ext: str | None,
    recursive: bool,
    overwrite: bool,
) -> Plan:
    """Pair every input file with the file it is enlarged into.

    Args:
        inputs: files, folders and patterns.
        output: a file (one input), a folder, or None: beside each input.
        suffix: goes between the stem of an input and its extension.
        ext: extension of the outputs that are pictures, or, being that of a video, of the videos.
            The others, and all with None, have that of the input, or .png where it cannot be
            written.
        recursive: search folders in folders.
        overwrite: whether existing outputs will be replaced.

    Raises:
        UserError: nothing to do, outputs that collide or would replace an input, or an extension
            that cannot be written.
    """
    ext = _check_ext(ext, "--ext") if ext is not None else None
    found = _unique(item for text in inputs for item in _expand(text, recursive))
    if ext is not None and not any(is_video(item.path) == _names_video(ext) for item in found):
        kind = "video" if _names_video(ext) else "picture"
        raise UserError(f"--ext {ext.lstrip('.')}: none of the inputs is a {kind}")
    folder, file = _split_output(output, ext, found)
    if os.sep in suffix or (os.altsep and os.altsep in suffix):
        raise UserError(f"--suffix must not contain {os.sep!r}, got {suffix!r}")

    def target_of(item: _Found) -> Path:
        if file is not None:
            return file
        parent = item.path.parent
        if folder is not None:
            parent = folder / parent.relative_to(item.root)
        own = item.path.suffix
        if ext is not None and is_video(item.path) == _names_video(ext):
            ending = ext
        else:
            ending = own if own.lower() in (*WRITABLE, *VIDEO_SUFFIXES) else ".png"
        return parent / f"{item.path.stem}{suffix}{ending}"

    targets = {item: target_of(item) for item in found}
    left_out = _already_outputs(targets, overwrite)
    plan = Plan(left_out=[item.path for item in targets if item in left_out])
    taken: dict[str, Path] = {}
    for item, target in targets.items():
        if item in left_out:
            continue
        other = taken.setdefault(_key(target), item.path)
        if other is not item.path:
            raise UserError(
                f"{other} and {item.path} would both be written to {target}; "
                "run them apart, or with another -o"
            )
        plan.jobs.append(Job(item.path, target))
    return plan


def _already_outputs(targets: Mapping[_Found, Path], overwrite: bool) -> set[_Found]:
    """Inputs that are outputs of other inputs.

    A shell that expands `*.jpg` names the outputs of an earlier run too.

    Raises:
        UserError: an input that the user named would be overwritten.
    """
    by_key = {_key(item.path): item for item in targets}
    left_out: set[_Found] = set()
    for item, target in targets.items():
        victim = by_key.get(_key(target))
        if victim is item:
            raise UserError(f"{item.path} would be written over itself; give --suffix or -o")
        if victim is None:
            continue
        if victim.named and overwrite:
            raise UserError(
                f"{victim.path} is an input and would be overwritten by the output of {item.path}; "
                "leave it out, or give another --suffix or -o"
            )
        left_out.add(victim)
    return left_out


def _expand(text: str, recursive: bool) -> Iterator[_Found]:
    path = Path(text)
    if path.is_dir():
        yield from _search(path, recursive)
    elif os.path.lexists(path) or not glob.has_magic(text):
        # A missing file fails when its turn comes, and does not stop the others.
        yield _Found(path, path.parent, True)
    else:
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  text may be absolute
        files = [Path(match) for match in matches if not Path(match).is_dir()]
        if not files:
            raise UserError(f"{text}: no file matches this pattern")
        for file in files:
            yield _Found(file, file.parent, False)


def _search(folder: Path, recursive: bool) -> Iterator[_Found]:
    """A folder's image and video files, sorted, without hidden ones such as unfinished outputs."""
    files = sorted(folder.rglob("*") if recursive else folder.iterdir())
    readable = [
        file
        for file in files
        if file.suffix.lower() in _READABLE
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    if not readable:
        hint = "" if recursive else " (--recursive also searches the folders in it)"
        raise UserError(f"{folder}: no image or video files in this folder{hint}")
    for file in readable:
        yield _Found(file, folder, False)


def _unique(found: Iterator[_Found]) -> list[_Found]:
    """One entry a file; being named by the user wins."""
    items: dict[str, _Found] = {}
    for item in found:
        key = _key(item.path)
        if key not in items or (item.named and not items[key].named):
            items[key] = item
    return list(items.values())


def _key(path: Path) -> str:
    """The same for two names of one file, links included, whether or not it exists yet."""
    try:
        status = path.stat()
        return f"{status.st_dev}:{status.st_ino}"
    except OSError:
        return os.path.normcase(path.resolve())


def _split_output(
    output: str | None, ext: str | None, found: Sequence[_Found]
) -> tuple[Path | None, Path | None]:
    """The output folder or the output file: at most one of them."""
    if output is None:
        return None, None
    path = Path(output)
    is_folder = path.is_dir() or output.endswith(("/", os.sep)) or not path.suffix
    if is_folder:
        if path.exists() and not path.is_dir():
            raise UserError(f"-o {output}: is a file; a folder, or a name like out.png, is needed")
        return path, None
    if len(found) != 1 or not found[0].named:
        raise UserError(
            f"-o {output}: must be a folder for a folder, a pattern or several inputs; "
            "one that does not exist yet is written with a / at its end"
        )
    suffix = _check_ext(path.suffix, f"-o {output}")
    if is_video(found[0].path) != _names_video(suffix):
        kind = "video" if is_video(found[0].path) else "picture"
        raise UserError(f"-o {output}: {found[0].path} is a {kind}, which {suffix} cannot hold")
    if ext is not None and suffix.lower() != ext.lower():
        raise UserError(f"-o {output} and --ext {ext.lstrip('.')} contradict each other")
    return None, path


def _check_ext(ext: str, where: str) -> str:
    dotted = ext if ext.startswith(".") else f".{ext}"
    if dotted.lower() not in (*WRITABLE, *VIDEO_SUFFIXES):
        known = ", ".join(name.lstrip(".") for name in (*WRITABLE, *VIDEO_SUFFIXES))
        raise UserError(f"{where}: unknown extension {dotted!r}; can write {known}")
    return dotted


def _names_video(ext: str) -> bool:
    return ext.lower() in VIDEO_SUFFIXES
