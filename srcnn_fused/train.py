"""Training of an SRCNN on folders of images.

Mean squared error between the network's luma (or RGB, or YCbCr) and the truth, on random crops
(section 3.3 of the TPAMI paper). The convolutions run unpadded, as in the paper, so that the
network never learns from invented borders: the input crop is larger than the target by the
receptive radius.

A run lives in one folder: ``checkpoint.pt`` (everything that is needed to go on exactly),
``<network>-x<scale>.safetensors`` (the weights with the best validation PSNR so far) and
``history.csv``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from . import colour
from .data import CropSampler, TrainingPair, load_pairs
from .errors import UserError
from .evaluate import Sample, load_samples, mean_psnr
from .modules import FusedSRCNN
from .training.checkpoint import Checkpoint, RunFolder
from .training.config import TrainConfig
from .training.network import (
    build_model,
    build_optimizer,
    finished,
    forward_unpadded,
    learning_rate_factor,
    receptive_radius,
)

__all__ = ["Monitor", "Stopped", "TrainConfig", "TrainResult", "train"]

# Caffe's Euclidean loss on the papers' 21x21 outputs is 21 * 21 / 2 times the mean squared error;
# their SGD rates (1e-4, 1e-5) mean something for that loss only. Adam is blind to the factor.
SGD_LOSS_FACTOR = 21 * 21 / 2


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


@dataclass(frozen=True)
class TrainResult:
    """Where the best weights are, and what they reach on the validation set."""

    model_path: Path
    best_psnr: float
    iteration: int


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    monitor: Monitor | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train one network.

    Args:
        config: the recipe.
        resume: go on from the checkpoint in ``config.out``. The result equals that of a run which
            was never interrupted, to the bit on the CPU with the same number of threads.
        overwrite: start over in a folder that holds a run.
        monitor: is told about progress.
        should_stop: asked after every step; when true, a checkpoint is written and Stopped raised.

    Raises:
        UserError: data that cannot be read, a folder that holds a run already (or none to resume),
            a recipe that differs from the resumed one, or a loss that is no longer finite.
        Stopped: a KeyboardInterrupt, after ``should_stop``.
    """
    config.validate()
    folder = RunFolder(Path(config.out), config.model_name)
    checkpoint = folder.open(resume=resume, overwrite=overwrite)
    if checkpoint is not None:
        config.check_same_recipe(checkpoint.config)
    monitor = monitor or Monitor()

    # A resumed run has its weights in the checkpoint; the file it began from may be gone.
    model = build_model(config if checkpoint is None else replace(config, init=None))
    margin = receptive_radius(model)
    samples = load_samples(
        config.val, config.scale, bicubic=config.bicubic, num_channels=config.num_channels
    )
    pairs = load_pairs(
        config.data,
        config.scale,
        bicubic=config.bicubic,
        num_channels=config.num_channels,
        rescale=config.rescale,
        min_side=config.crop + 2 * margin,
        progress=monitor.loading,
    )
    run = _Run(config, folder, model, CropSampler(pairs, config.crop, margin), samples, monitor)
    if checkpoint is not None:
        run.restore(checkpoint)
    else:
        folder.clear()  # not before everything that may fail has been read
    monitor.started(run.iteration, pairs, samples)
    if run.iteration == 0:
        run.validate()  # the starting point: bicubic, or what --init reaches here
    while run.iteration < config.iterations:
        run.step()
        last = run.iteration == config.iterations
        if last or run.iteration % config.validate_every == 0:
            run.validate()
        if last or run.iteration % config.checkpoint_every == 0:
            run.save()
        if not last and should_stop():
            run.save()
            raise Stopped(run.iteration)
    return TrainResult(folder.model_path, run.best, run.iteration)


class _Run:
    """The moving parts of a training run: model, optimizer, generator, position."""

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        model: FusedSRCNN,
        sampler: CropSampler,
        samples: list[Sample],
        monitor: Monitor,
    ) -> None:
        self.config = config
        self.folder = folder
        self.model = model
        self.sampler = sampler
        self.samples = samples
        self.monitor = monitor
        self.optimizer = build_optimizer(model, config)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.iteration = 0
        self.best = -math.inf
        self.history: list[tuple[int, float, float]] = []  # iteration, loss, validation PSNR
        self.loss_sum = 0.0  # of the steps since the last validation
        self.loss_count = 0

    def step(self) -> None:
        """One batch: forward, backward, update."""
        config = self.config
        device = self.model.conv1.weight.device
        factor = learning_rate_factor(config, self.iteration)
        self.optimizer.param_groups[0]["lr"] = config.lr * factor
        self.optimizer.param_groups[1]["lr"] = config.lr_last * factor
        x, target = self.sampler.batch(config.batch, self.generator)
        if config.color == "ycbcr":
            x, target = colour.rgb_to_ycbcr(x), colour.rgb_to_ycbcr(target)
        self.optimizer.zero_grad(set_to_none=True)
        output = forward_unpadded(self.model, x.to(device), config.backend)
        loss = F.mse_loss(output, target.to(device))
        value = loss.item()
        if not math.isfinite(value):  # before it reaches the weights, and they a file
            raise self._diverged(f"the loss became {value}")
        torch.autograd.backward(loss * SGD_LOSS_FACTOR if config.optimizer == "sgd" else loss)
        self.optimizer.step()
        self.iteration += 1
        self.loss_sum += value
        self.loss_count += 1
        self.monitor.stepped(self.iteration, value)

    def validate(self) -> None:
        """Validation PSNR by the papers' protocol; the best weights so far go to the model file."""
        model = finished(self.model, self.config)
        psnr = mean_psnr(model, self.samples, self.config.scale)
        loss = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        self.history.append((self.iteration, loss, psnr))
        if psnr > self.best:
            self.best = psnr
            self.folder.save_model(model, self.config, self.iteration, psnr)
        self.monitor.validated(self.iteration, psnr, self.best)

    def save(self) -> None:
        """Write the checkpoint and the history."""
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise self._diverged("the weights are no longer finite")
        self.folder.save_checkpoint(
            Checkpoint(
                config=self.config,
                iteration=self.iteration,
                best=self.best,
                loss_sum=self.loss_sum,
                loss_count=self.loss_count,
                history=self.history,
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                generator=self.generator.get_state(),
                data=self.fingerprint(),
            )
        )

    def _diverged(self, what: str) -> UserError:
        return UserError(f"{what} after {self.iteration} iterations: start again with a lower --lr")

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where the checkpoint was written."""
        if checkpoint.data != self.fingerprint():
            raise UserError(
                f"the images in --data are not those that {self.folder.checkpoint_path} was "
                "trained on: an exact continuation needs the same files"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.generator.set_state(checkpoint.generator)
        self.iteration = checkpoint.iteration
        self.best = checkpoint.best
        self.loss_sum, self.loss_count = checkpoint.loss_sum, checkpoint.loss_count
        self.history = checkpoint.history

    def fingerprint(self) -> list[str]:
        """Names and sizes of the training images, in order: what the drawn numbers refer to."""
        return [f"{p.name} {p.truth.shape[2]}x{p.truth.shape[1]}" for p in self.sampler.pairs]
