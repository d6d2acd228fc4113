"""`srcnn-fused reproduce`: every model on every test set, beside the papers' figures."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Backend, Device

if TYPE_CHECKING:
    from rich.console import Console

    from .._reproduction_text import Table
    from ..reproduce import Candidate, Reproduction

_TABLES, _SCORES, _EXAMPLES = "reproduction.md", "reproduction.json", "examples.png"


def reproduce(
    data: Annotated[
        Path,
        typer.Option(metavar="ROOT", help="Folder of test sets: Set5, Set14, BSD100, ..."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Write {_TABLES}, {_SCORES} and {_EXAMPLES} here."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all scores here.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help="Measure this folder of ROOT, even a training set; repeatable. Default: every "
            "test set that is there.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Measure this shipped model or file; repeatable. Default: all that are shipped.",
        ),
    ] = None,
    device: Device = "auto",
    backend: Backend = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist.")
    ] = False,
) -> None:
    """Measure the shipped models on the test sets, and print the papers' figures beside.

    The papers' protocol, as in `evaluate`, at each model's scale. A difference is what was measured
    minus what was published, both rounded as in the paper.
    """
    from rich.console import Console

    from .._reproduction_text import make_tables, source_lines
    from ..errors import UserError
    from ..reproduce import find_sets
    from ..reproduce import reproduce as run_reproduction

    begun = time.monotonic()
    _check_results(out, json, overwrite=overwrite)
    found = find_sets(data, sets or ())
    candidates = _load_models(models, device=device, backend=backend)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {out}: cannot be used: {error.strerror}") from None
    with _progress() as progress:
        try:
            run = run_reproduction(candidates, found, progress=progress)
        except RuntimeError as error:  # --backend fused where there is no kernel
            raise UserError(str(error)) from None
    console = Console()
    for table in make_tables(run):
        _print(table, console)
    for line in source_lines(run):
        console.print(line, markup=False, highlight=False)
    written = _write(run, out, json)
    per_set = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.seconds.items())
    typer.echo(f"took {time.monotonic() - begun:.1f} s: {per_set}")
    for path in written:
        typer.echo(f"written to {path}")


def _check_results(out: Path | None, json: Path | None, *, overwrite: bool) -> None:
    """Raises UserError for what would otherwise fail at the end of a long run."""
    from ._targets import check_folder_of, check_target

    if json is not None:
        check_target(json, overwrite=overwrite, option="--json")
        check_folder_of(json, option="--json")
    if out is not None:
        for name in (_TABLES, _SCORES, _EXAMPLES):
            check_target(out / name, overwrite=overwrite, option="--out")


def _load_models(names: list[str] | None, *, device: str, backend: str) -> list[Candidate]:
    from .. import pretrained
    from ..errors import UserError
    from ..reproduce import Candidate
    from ._load_model import load_model

    shipped = pretrained.list_pretrained()
    wanted = list(dict.fromkeys(names or shipped))
    if not wanted:
        raise UserError("no model is shipped with this installation; -m names a file")
    titles = [name if name in shipped else Path(name).stem for name in wanted]
    return [
        Candidate(
            title if titles.count(title) == 1 else name,
            load_model(name, None, device=device, backend=backend),
        )
        for title, name in zip(titles, wanted, strict=True)
    ]


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total, what: bar.update(
            task, completed=done, total=total, description=what
        )


def _print(table: Table, console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    from .._reproduction_text import TEXT_HEADINGS

    # Without lines, and a single space between columns: everything fits into 80 characters.
    grid = RichTable(title=table.title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for index, heading in enumerate(table.headings):
        grid.add_column(heading, justify="left" if index < len(TEXT_HEADINGS) else "right")
    for group in table.groups:
        grid.add_row()
        for row in group:
            grid.add_row(*map(Text, row))
    console.print(grid)
    console.print()


def _write(run: Reproduction, out: Path | None, json: Path | None) -> Sequence[Path]:
    from .._reproduction_text import to_markdown
    from ..examples import draw_examples

    versions = _versions()
    scores = run.to_json(versions).encode()
    contents: dict[Path, bytes] = {}
    if json is not None:
        contents[json] = scores
    if out is not None:
        picture = io.BytesIO()
        draw_examples(run.examples).save(picture, format="PNG", optimize=True)
        contents[out / _TABLES] = to_markdown(run, versions, picture=_EXAMPLES).encode()
        contents[out / _SCORES] = scores
        contents[out / _EXAMPLES] = picture.getvalue()
    for path, content in contents.items():
        _replace(path, content)
    return list(contents)


def _replace(path: Path, content: bytes) -> None:
    from .._files import replacing
    from ..errors import UserError

    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _versions() -> dict[str, str]:
    import torch

    import srcnn_fused

    return {"srcnn_fused": srcnn_fused.__version__, "torch": torch.__version__}
