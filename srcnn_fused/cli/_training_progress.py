"""What `srcnn-fused train` shows: a bar while it runs, and a line for every validation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ..data import TrainingPair
from ..evaluate import Sample
from ..train import Monitor, TrainConfig

_SMOOTHING = 0.98  # of the shown loss: a batch of small crops says little by itself


@contextmanager
def training_progress(config: TrainConfig) -> Iterator[Monitor]:
    """A monitor that draws on stderr, and leaves the terminal tidy however the run ends."""
    console = Console(stderr=True, highlight=False)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=2,
    )
    with progress:
        yield _RichMonitor(config, console, progress)


class _RichMonitor(Monitor):
    def __init__(self, config: TrainConfig, console: Console, progress: Progress) -> None:
        self.config = config
        self.console = console
        self.progress = progress
        self.task: TaskID = progress.add_task("reading images", facts="", total=None)
        self.loss: float | None = None
        self.psnr = ""
        # Stepping, since the last validation: when, after how many iterations.
        self.begun = (0.0, 0)
        self.waited = 0.0  # for crops since then: seconds

    def loading(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)

    def started(self, iteration: int, pairs: list[TrainingPair], samples: list[Sample]) -> None:
        self.progress.remove_task(self.task)
        megapixels = sum(pair.truth[0].numel() for pair in pairs) / 1e6
        self.console.print(
            f"{self.config.model_name}: {len(pairs)} training images, {megapixels:.1f} megapixels; "
            f"{len(samples)} for validation"
            + (f"; going on after {iteration} iterations" if iteration else "")
        )
        self.task = self.progress.add_task(
            self.config.model_name, facts="", total=self.config.iterations, completed=iteration
        )
        self.begun = (time.monotonic(), iteration)

    def fed(self, seconds: float) -> None:
        self.waited += seconds

    def stepped(self, iteration: int, loss: float) -> None:
        last = loss if self.loss is None else self.loss
        self.loss = _SMOOTHING * last + (1 - _SMOOTHING) * loss
        when, start = self.begun
        seconds = max(time.monotonic() - when, 1e-9)
        rate = (iteration - start) * self.config.batch * self.config.accumulate / seconds
        data = f"data {self.waited / seconds:.0%}"  # of the time went into waiting for crops
        facts = f"{rate:.0f} images/s  {data}  loss {self.loss:.2e}{self.psnr}"
        self.progress.update(self.task, completed=iteration, facts=facts)

    def validated(self, iteration: int, psnr: float, best: float) -> None:
        self.begun = (time.monotonic(), iteration)
        self.waited = 0.0
        self.psnr = f"  best {best:.2f} dB"
        loss = "" if self.loss is None else f"  loss {self.loss:.3e}"
        self.console.print(f"iteration {iteration}{loss}  PSNR {psnr:.3f} dB  best {best:.3f} dB")
