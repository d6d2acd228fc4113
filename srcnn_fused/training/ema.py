"""The moving average of a network's weights, which validates better than the latest weights do."""

from __future__ import annotations

import copy

import torch

from ..modules import FusedSRCNN

__all__ = ["MovingAverage"]


class MovingAverage:
    """Exponential moving average of all weights: what is validated and saved where there is one.

    Args:
        model: where the average starts.
        decay: share of the old average that a step keeps. In the first steps it is less,
            (1 + n) / (10 + n) after n of them, so that the start is soon forgotten.
    """

    def __init__(self, model: FusedSRCNN, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: FusedSRCNN, iteration: int) -> None:
        """Take in the weights after ``iteration`` steps."""
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        for average, latest in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(latest, 1 - decay)
