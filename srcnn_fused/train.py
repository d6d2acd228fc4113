"""Training of an SRCNN on folders of images.

Mean squared error between the network's luma (or RGB, or YCbCr) and the truth, on random crops
(section 3.3 of the TPAMI paper). The convolutions run unpadded, as in the paper, so that the
network never learns from invented borders: the input crop is larger than the target by the
receptive radius.

Started by torchrun, the processes share each batch and their gradients: the run equals that of one
process to rounding, whose number may change when it is resumed.

A run lives in one folder: ``checkpoint.pt`` (everything that is needed to go on exactly),
``<network>-x<scale>.safetensors`` (the weights with the best validation PSNR so far; networks of
colours end in ``-rgb`` or ``-ycbcr``) and ``history.csv``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .data import TrainingPair, load_pairs
from .errors import UserError
from .evaluate import Sample, load_samples
from .modules import FusedSRCNN
from .training.checkpoint import Checkpoint, RunFolder
from .training.config import TrainConfig
from .training.crops import CropSampler
from .training.distributed import Workers, own_device, said_by_first, workers
from .training.loop import Run
from .training.monitor import Monitor, Stopped
from .training.network import build_model, receptive_radius

__all__ = ["Monitor", "Stopped", "TrainConfig", "TrainResult", "train"]


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
        Stopped: a KeyboardInterrupt, after ``should_stop`` (in any of the processes).
        SystemExit: in all processes of torchrun's but the one that raises an error.
    """
    with said_by_first():
        config.validate()
        place = own_device(config.device)
    with workers(place) as team:
        told = monitor if monitor is not None and team.is_first else Monitor()
        try:
            return _train(config, resume, overwrite, told, should_stop, team)
        finally:
            told.ended()


def _train(
    config: TrainConfig,
    resume: bool,
    overwrite: bool,
    monitor: Monitor,
    should_stop: Callable[[], bool],
    team: Workers,
) -> TrainResult:
    folder = RunFolder(Path(config.out), config.model_name, config.former_model_name)
    checkpoint = team.from_first(lambda: folder.open(resume=resume, overwrite=overwrite))
    model, pairs, samples = team.together(lambda: _load(config, checkpoint, monitor, team))
    sampler = CropSampler(pairs, config.crop, receptive_radius(model), team.device)
    run = Run(config, folder, model, sampler, samples, monitor, team)
    with said_by_first():
        if checkpoint is not None:
            run.restore(checkpoint)
        elif team.is_first:
            folder.clear()  # not before everything that may fail has been read
        monitor.started(run.iteration, sampler.pairs, samples)
        run.go(should_stop)
    return TrainResult(folder.model_path, run.best, run.iteration)


def _load(
    config: TrainConfig, checkpoint: Checkpoint | None, monitor: Monitor, team: Workers
) -> tuple[FusedSRCNN, list[TrainingPair], list[Sample]]:
    """Everything that is read before training: network, training pairs, validation images."""
    if checkpoint is not None:
        config.check_same_recipe(checkpoint.config)
    if config.batch < team.size:
        raise UserError(
            f"--batch must be at least 1 crop for each of {team.size} processes, got {config.batch}"
        )
    # A resumed run has its weights in the checkpoint; the file it began from may be gone.
    start = config if checkpoint is None else replace(config, init=None)
    model = build_model(start, team.device)
    channels = config.num_channels
    samples = load_samples(config.val, config.scale, bicubic=config.bicubic, num_channels=channels)
    pairs = load_pairs(
        config.data,
        config.scale,
        bicubic=config.bicubic,
        num_channels=channels,
        rescale=config.rescale,
        min_side=config.crop + 2 * receptive_radius(model),
        progress=monitor.loading,
    )
    return model, pairs, samples
