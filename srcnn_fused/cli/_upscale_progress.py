"""What `upscale` shows on stderr: a line for every file, and a bar with speed and time left."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..errors import UserError
from ..imaging import read_size
from ..video.reader import read_video_size
from ..video.suffixes import is_video
from ._plan import Job

__all__ = ["UpscaleProgress"]


class _AmountColumn(ProgressColumn):
    """Output megapixels, done and in all, and how many a second; of a video, frames of it."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if task.fields["frames"] is not None:
            done, total, pixels = task.fields["frames"]
            rate = "" if speed is None else f"  {speed / pixels:.1f} frames/s"
            return Text(f"{done}/{total or '?'} frames{rate}")
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
        self._scale = scale
        self._done = 0  # pixels of this job so far
        self._frame = 0  # pixels of a frame of this job, once one is done
        if self._console.is_terminal and not quiet:
            self._expected = {job: _output_pixels(job, scale) for job in jobs}
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                _AmountColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            total = sum(self._expected.values())
            self._task = self._bar.add_task("", total=total, frames=None)

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
        self._job = job
        self._done = self._frame = 0
        if self._bar is not None:
            self._bar.update(self._task, description=escape(job.source.name), frames=None)

    def advance(self, pixels: int) -> None:
        """So many more output pixels are made."""
        self._done += pixels
        if self._bar is not None:
            self._bar.advance(self._task, pixels)

    def advance_video(self, done: int, total: int) -> None:
        """So many frames of a video are made, of so many; 0 where that is not known."""
        if self._bar is None:
            return
        if not self._frame:
            width, height, _ = read_video_size(self._job.source)
            self._frame = width * height * self._scale**2
            self._expect(self._job, max(total, done) * self._frame)
        self._bar.update(self._task, frames=(done, total, self._frame))
        self.advance(self._frame)

    def finish(
        self, job: Job, width: int, height: int, seconds: float, *, frames: int | None = None
    ) -> None:
        """A job is done."""
        if frames is None:
            what, rate = "", f"{width * height / max(seconds, 1e-9) / 1e6:.1f} Mpixel/s"
        else:
            what, rate = f"{frames} frames, ", f"{frames / max(seconds, 1e-9):.1f} frames/s"
            self._expect(job, self._done)  # what the header said may have been wrong
        self._print(
            f"{job.source} -> {job.target} ({width}x{height}, {what}{seconds:.1f} s, {rate})"
        )

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
        self._expect(job, done)

    def _expect(self, job: Job, pixels: int) -> None:
        """Correct what the total holds of a job."""
        if self._bar is not None:
            more = pixels - self._expected.get(job, 0)
            self._expected[job] = pixels
            self._bar.update(self._task, total=(self._bar.tasks[0].total or 0) + more)


def _output_pixels(job: Job, scale: int) -> int:
    try:
        if is_video(job.source):
            width, height, frames = read_video_size(job.source)
        else:
            (width, height), frames = read_size(job.source), 1
    except (UserError, ImportError):  # reported when its turn comes
        return 0
    return frames * width * height * scale * scale
