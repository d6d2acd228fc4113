"""What a training run tells while it goes on, and how it says that it was stopped."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import TrainingPair
from ..evaluate import Sample
from ..modules import FusedSRCNN

__all__ = ["Monitor", "Monitors", "Stopped"]


class Stopped(KeyboardInterrupt):
    """Training was asked to stop and wrote a checkpoint after ``iteration`` steps."""

    def __init__(self, iteration: int) -> None:
        super().__init__(f"stopped after {iteration} iterations")
        self.iteration = iteration


class Monitor:
    """What the trainer tells while it runs. This one keeps it to itself."""

    def loading(self, done: int, total: int) -> None:
        """Images of the training set read."""

    def started(self, iteration: int, pairs: list[TrainingPair], samples: list[Sample]) -> None:
        """Everything is loaded; training begins (or goes on) after ``iteration`` steps."""

    def fed(self, seconds: float) -> None:
        """For so long the step that is about to be told of waited for its crops."""

    def stepped(self, iteration: int, loss: float) -> None:
        """``iteration`` steps are done; ``loss`` is the mean squared error of the latest."""

    def validated(self, iteration: int, psnr: float, best: float) -> None:
        """Validation PSNR in dB, and the best so far, this one included."""

    def shown(self, iteration: int, model: FusedSRCNN) -> None:
        """The network that was validated, to run and not to keep. Follows :meth:`validated`."""

    def ended(self) -> None:
        """The run is over, however it ended."""


class Monitors(Monitor):
    """Several monitors, told in order."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)

    def loading(self, done: int, total: int) -> None:
        for monitor in self.monitors:
            monitor.loading(done, total)

    def started(self, iteration: int, pairs: list[TrainingPair], samples: list[Sample]) -> None:
        for monitor in self.monitors:
            monitor.started(iteration, pairs, samples)

    def fed(self, seconds: float) -> None:
        for monitor in self.monitors:
            monitor.fed(seconds)

    def stepped(self, iteration: int, loss: float) -> None:
        for monitor in self.monitors:
            monitor.stepped(iteration, loss)

    def validated(self, iteration: int, psnr: float, best: float) -> None:
        for monitor in self.monitors:
            monitor.validated(iteration, psnr, best)

    def shown(self, iteration: int, model: FusedSRCNN) -> None:
        for monitor in self.monitors:
            monitor.shown(iteration, model)

    def ended(self) -> None:
        for monitor in self.monitors:
            monitor.ended()
