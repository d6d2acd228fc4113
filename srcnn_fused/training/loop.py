"""The loop of :func:`srcnn_fused.train.train`: one step, validation, checkpoints, going on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import colour
from ..errors import UserError
from ..evaluate import Sample, mean_psnr
from ..modules import FusedSRCNN
from .checkpoint import Checkpoint, RunFolder
from .config import TrainConfig
from .crops import CropSampler
from .distributed import Workers
from .ema import MovingAverage
from .monitor import Monitor, Stopped
from .network import build_optimizer, finished, forward_unpadded, learning_rate_factor

__all__ = ["Run"]

# Caffe's Euclidean loss on the papers' 21x21 outputs is 21 * 21 / 2 times the mean squared error;
# their SGD rates (1e-4, 1e-5) mean something for that loss only. Adam is blind to the factor.
SGD_LOSS_FACTOR = 21 * 21 / 2
# Whatever --checkpoint-every says, a crash costs no more than this.
CHECKPOINT_SECONDS = 300.0


class Run:
    """The moving parts of a training run: model, optimizer, generator, position."""

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        model: FusedSRCNN,
        sampler: CropSampler,
        samples: list[Sample],
        monitor: Monitor,
        workers: Workers,
    ) -> None:
        self.config = config
        self.folder = folder
        self.model = model
        self.sampler = sampler
        self.samples = samples
        self.monitor = monitor
        self.workers = workers
        self.optimizer = build_optimizer(model, config)
        self.average = MovingAverage(model, config.ema) if config.ema else None
        # Small gradients vanish in half precision, whose exponent is short.
        self.scaler = torch.amp.GradScaler(
            workers.device.type, enabled=config.precision == "float16"
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.iteration = 0
        self.best = -math.inf
        self.history: list[tuple[int, float, float]] = []  # iteration, loss, validation PSNR
        self.loss_sum = 0.0  # of the steps since the last validation
        self.loss_count = 0
        self.waited = 0.0  # for crops, in this step: seconds
        self.saved_at = time.monotonic()

    def go(self, should_stop: Callable[[], bool]) -> None:
        """Train to the end. Raises Stopped after ``should_stop``."""
        config = self.config
        if self.iteration == 0:
            self.validate()  # the starting point: bicubic, or what --init reaches here
        while self.iteration < config.iterations:
            self.step()
            last = self.iteration == config.iterations
            if last or self.iteration % config.validate_every == 0:
                self.validate()
            overdue = time.monotonic() - self.saved_at > CHECKPOINT_SECONDS
            if last or overdue or self.iteration % config.checkpoint_every == 0:
                self.save()
            if not last and self.workers.any(should_stop()):
                self.save()
                raise Stopped(self.iteration)

    def step(self) -> None:
        """``accumulate`` batches, forward and backward; one update."""
        config = self.config
        self.waited = 0.0
        factor = learning_rate_factor(config, self.iteration)
        self.optimizer.param_groups[0]["lr"] = config.lr * factor
        self.optimizer.param_groups[1]["lr"] = config.lr_last * factor
        self.optimizer.zero_grad(set_to_none=True)
        draws = self.sampler.draw(config.batch * config.accumulate, self.generator)
        total = torch.zeros((), device=self.workers.device)
        for batch in torch.split(draws, config.batch):
            loss = self.loss(batch[self.workers.share(config.batch)]) / len(draws)
            total += loss.detach()
            if config.optimizer == "sgd":
                loss = loss * SGD_LOSS_FACTOR
            torch.autograd.backward(self.scaler.scale(loss))
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.workers.sum_([*gradients, total])
        value = total.item()
        if not math.isfinite(value):  # before it reaches the weights, and they a file
            raise self._diverged(f"the loss became {value}")
        if config.clip_grad:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.iteration += 1
        if self.average is not None:
            self.average.update(self.model, self.iteration)
        self.loss_sum += value
        self.loss_count += 1
        self.monitor.fed(self.waited)
        self.monitor.stepped(self.iteration, value)

    def loss(self, draws: Tensor) -> Tensor:
        """Mean squared error of these crops, times their number."""
        config = self.config
        begun = time.perf_counter()
        x, target = self.sampler.cut(draws)
        self.waited += time.perf_counter() - begun
        if config.color == "ycbcr":
            x, target = colour.rgb_to_ycbcr(x), colour.rgb_to_ycbcr(target)
        output = forward_unpadded(self.model, x, config.backend, config.precision)
        return F.mse_loss(output.float(), target) * len(draws)

    def validate(self) -> None:
        """Validation PSNR by the papers' protocol; the best weights so far go to the model file."""
        if not self.workers.is_first:
            return
        model = finished(self.average.model if self.average else self.model, self.config)
        psnr = mean_psnr(model, self.samples, self.config.scale)
        loss = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        self.history.append((self.iteration, loss, psnr))
        if psnr > self.best:
            self.best = psnr
            self.folder.save_model(model, self.config, self.iteration, psnr)
        self.monitor.validated(self.iteration, psnr, self.best)
        self.monitor.shown(self.iteration, model)

    def save(self) -> None:
        """Write the checkpoint and the history."""
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise self._diverged("the weights are no longer finite")
        self.saved_at = time.monotonic()
        if not self.workers.is_first:
            return
        self.folder.save_checkpoint(
            Checkpoint(
                config=self.config,
                iteration=self.iteration,
                best=self.best,
                loss_sum=self.loss_sum,
                loss_count=self.loss_count,
                history=self.history,
                model=self.model.state_dict(),
                average=self.average.model.state_dict() if self.average else None,
                optimizer=self.optimizer.state_dict(),
                scaler=self.scaler.state_dict(),
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
        if self.average is not None and checkpoint.average is not None:
            self.average.model.load_state_dict(checkpoint.average)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.scaler.load_state_dict(checkpoint.scaler)
        self.generator.set_state(checkpoint.generator)
        self.iteration = checkpoint.iteration
        self.best = checkpoint.best
        self.loss_sum, self.loss_count = checkpoint.loss_sum, checkpoint.loss_count
        self.history = checkpoint.history

    def fingerprint(self) -> list[str]:
        """Names and sizes of the training images, in order: what the drawn numbers refer to."""
        return [f"{p.name} {p.truth.shape[2]}x{p.truth.shape[1]}" for p in self.sampler.pairs]
