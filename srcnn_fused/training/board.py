"""TensorBoard: scalars and pictures of a run, in the folder ``tensorboard`` beside its files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data import TrainingPair
from ..errors import UserError
from ..evaluate import Sample, restore
from ..modules import FusedSRCNN
from .config import TrainConfig
from .monitor import Monitor
from .network import learning_rate_factor

__all__ = ["TensorBoardMonitor"]

_EVERY = 10  # iterations between two points of loss, learning rate and speed
_PICTURES = 4  # of the validation set: bicubic, network and truth side by side


class TensorBoardMonitor(Monitor):
    """Writes what a run tells: loss, lr, images/s, PSNR in dB, and validation pictures.

    Args:
        config: of the run. A resumed run goes on where its checkpoint was: TensorBoard forgets what
            had been written after that.
        writer: what is called for the writer, in place of torch's SummaryWriter.

    Raises:
        UserError: the tensorboard package is not installed.
    """

    def __init__(self, config: TrainConfig, writer: Callable[..., Any] | None = None) -> None:
        if writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError(
                    "--tensorboard needs a package: pip install 'srcnn_fused[tensorboard]'"
                ) from None
            writer = SummaryWriter
        self._open = writer
        self._writer: Any = None
        self._config = config
        self._samples: list[Sample] = []
        self._losses: list[float] = []
        self._since = 0.0

    def started(
        self,
        iteration: int,
        pairs: list[TrainingPair],  # noqa: ARG002
        samples: list[Sample],
    ) -> None:
        folder = Path(self._config.out) / "tensorboard"
        self._writer = self._open(folder, purge_step=iteration + 1 if iteration else 0)
        self._samples = samples[:_PICTURES]
        if iteration == 0:
            for sample in self._samples:
                self._writer.add_image(f"{sample.name}/bicubic", sample.enlarged[None], 0)
                self._writer.add_image(f"{sample.name}/truth", sample.truth[None], 0)
        self._since = time.monotonic()

    def stepped(self, iteration: int, loss: float) -> None:
        self._losses.append(loss)
        if iteration % _EVERY:
            return
        config = self._config
        now = time.monotonic()
        crops = len(self._losses) * config.batch * config.accumulate
        factor = learning_rate_factor(config, iteration - 1)
        add = self._writer.add_scalar
        add("train/loss", sum(self._losses) / len(self._losses), iteration)
        add("train/lr", config.lr * factor, iteration)
        add("train/lr_last", config.lr_last * factor, iteration)
        add("train/images_per_second", crops / max(now - self._since, 1e-9), iteration)
        self._losses.clear()
        self._since = now

    def validated(self, iteration: int, psnr: float, best: float) -> None:
        self._writer.add_scalar("validation/psnr", psnr, iteration)
        self._writer.add_scalar("validation/best_psnr", best, iteration)

    def shown(self, iteration: int, model: FusedSRCNN) -> None:
        for sample in self._samples:
            luma = restore(model, sample)  # uint8 [H, W]
            self._writer.add_image(f"{sample.name}/srcnn", luma[None], iteration)
        self._writer.flush()
        # What the pictures took is not training's.
        self._since = time.monotonic()
        self._losses.clear()

    def ended(self) -> None:
        if self._writer is not None:
            self._writer.close()
