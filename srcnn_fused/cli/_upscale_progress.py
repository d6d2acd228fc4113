"""What `upscale` shows on stderr: a line for every file, and a bar with pixels/s and time left."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..errors import UserError
from ..imaging import read_size
from ._plan import Job

__all__ = ["UpscaleProgress"]


class _PixelsColumn(ProgressColumn):
    """Output megapixels, done and in all, and how many a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        rate = "" if speed is None else f"  {speed / 1e6:.1f} Mpixel/s"
        return Text(f"{task.completed / 1e6:.1f}/{(task.total or 0) / 1e6:.1f} Mpixel{rate}")


class UpscaleProgress:
    """Reports jobs as they run. The bar is drawn only where stderr is a terminal."""

    def __init__(
        self, jobs: Sequence[Job], scale: int, *, quiet: bool, console: Console | None = None
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._bar: Progress | None = None
        # Output pixels expected of each job, as far as its header can be read.
        self._expected: dict[Job, int] = {}
        self._done = 0  # pixels of this job so far
        if self._console.is_terminal and not quiet:
            self._expected = {job: _output_pixels(job, scale) for job in jobs}
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                _PixelsColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            total = sum(self._expected.values())
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> UpscaleProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, job: Job) -> None:
        """A job begins."""
        self._done = 0
        if self._bar is not None:
            self._bar.update(self._task, description=escape(job.source.name))

    def advance(self, pixels: int) -> None:
        """So many more output pixels are made."""
        self._done += pixels
        if self._bar is not None:
            self._bar.advance(self._task, pixels)

    def finish(self, job: Job, width: int, height: int, seconds: float) -> None:
        """A job is done."""
        rate = width * height / max(seconds, 1e-9) / 1e6
        size = f"{width}x{height}, {seconds:.1f} s, {rate:.1f} Mpixel/s"
        self._print(f"{job.source} -> {job.target} ({size})")

    def skip(self, job: Job) -> None:
        """A job's output exists and is left alone."""
        self._print(f"{job.target} exists, skipped")
        self._drop(job, 0)

    def fail(self, job: Job, reason: str) -> None:
        """A job failed; said even when quiet."""
        self._console.print(f"srcnn-fused: error: {reason}", markup=False)
        self._drop(job, self._done)

    def note(self, line: str) -> None:
        """Something about an input that the user should know."""
        self._print(f"srcnn-fused: note: {line}")

    def _print(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False)

    def _drop(self, job: Job, done: int) -> None:
        """Take what will not come out of the total."""
        self._done = 0
        if self._bar is not None:
            missing = self._expected.get(job, 0) - done
            total = (self._bar.tasks[0].total or 0) - missing
            self._bar.update(self._task, total=total)


def _output_pixels(job: Job, scale: int) -> int:
    try:
        width, height = read_size(job.source)
    except UserError:  # reported when its turn comes
        return 0
    return width * height * scale * scale
