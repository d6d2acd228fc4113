"""What a training run tells while it goes on, and how it says that it was stopped."""

from __future__ import annotations

from ..data import TrainingPair
from ..evaluate import Sample

__all__ = ["Monitor", "Stopped"]


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

    def stepped(self, iteration: int, loss: float) -> None:
        """``iteration`` steps are done; ``loss`` is the mean squared error of the latest."""

    def validated(self, iteration: int, psnr: float, best: float) -> None:
        """Validation PSNR in dB, and the best so far, this one included."""
