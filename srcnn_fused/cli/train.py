"""`srcnn-fused train`: a network from folders of images."""

# The recipe's options are read off the context, which knows which of them were given.
# ruff: noqa: ARG001

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Device

if TYPE_CHECKING:
    from ..training.config import TrainConfig

_DATA = "Folder of training images; repeat it, or list more folders after it. "
_SEED = (
    "Where the random numbers start, from 0 on: the same seed gives the same initial weights and "
    "the same crops."
)
_REQUIRED = "Required, unless --resume knows it."


def train(
    context: typer.Context,
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR", help="More folders for --data.")
    ] = None,
    data: Annotated[list[Path] | None, typer.Option(metavar="DIR", help=_DATA + _REQUIRED)] = None,
    val: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Folder of validation images, such as Set5. {_REQUIRED}"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the run: checkpoint, best model, history. Required."
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            "-s",
            metavar="N",
            help=f"Enlargement to learn: 2 to 64. {_REQUIRED}",
        ),
    ] = None,
    network: Annotated[str, typer.Option(help="Kernel sizes f1-f2-f3, or more.")] = "9-1-5",
    widths: Annotated[
        str,
        typer.Option(
            help="Feature maps n1-n2, one number for each layer but the last; others than 64-32 "
            "train on the reference."
        ),
    ] = "64-32",
    color: Annotated[
        str,
        typer.Option(
            metavar="luma|rgb|ycbcr",
            help="What the network takes and gives. PSNR is measured on luma in any case; a ycbcr "
            "network is saved as the RGB network that equals it.",
        ),
    ] = "luma",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.toml",
            help="Settings to begin with, shipped or your own; flags go before them.",
        ),
    ] = None,
    list_recipes: Annotated[
        bool, typer.Option("--list-recipes", help="Show the shipped recipes, and do nothing else.")
    ] = False,
    write_recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Copy --recipe to a new file, for editing, and do no more."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out, exactly.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over in a folder that holds a run.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from this model: a name or a file. Its kernels may be smaller (they go "
            "into the middle), and a luma network may start one of rgb or ycbcr.",
        ),
    ] = None,
    iterations: Annotated[int, typer.Option(help="Steps in all.")] = 40_000,
    batch: Annotated[int, typer.Option(help="Crops at once, over all processes.")] = 16,
    crop: Annotated[int, typer.Option(help="Side of a target crop in pixels.")] = 48,
    optimizer: Annotated[
        str,
        typer.Option(metavar="adam|sgd", help="sgd: momentum 0.9, the papers' scale of loss."),
    ] = "adam",
    lr: Annotated[
        float, typer.Option(help="Learning rate of all layers but the last (papers: 1e-4).")
    ] = 1e-3,
    lr_last: Annotated[
        float, typer.Option(help="Learning rate of the last layer (papers: 1e-5).")
    ] = 1e-4,
    schedule: Annotated[
        str, typer.Option(metavar="cosine|constant", help="Learning rate over the iterations.")
    ] = "cosine",
    warmup: Annotated[
        int,
        typer.Option(metavar="N", help="Iterations in which the learning rates rise to theirs."),
    ] = 0,
    accumulate: Annotated[
        int, typer.Option(metavar="N", help="Batches whose gradients make one step.")
    ] = 1,
    ema: Annotated[
        float,
        typer.Option(
            metavar="DECAY",
            help="Validate and save a moving average of the weights, of a decay such as 0.999.",
        ),
    ] = 0.0,
    clip_grad: Annotated[
        float, typer.Option(metavar="NORM", help="Scale longer gradients down to this norm.")
    ] = 0.0,
    precision: Annotated[
        str,
        typer.Option(
            metavar="float32|bfloat16|float16",
            help="Of the layers; weights stay float32. float16 on CUDA only.",
        ),
    ] = "float32",
    rescale: Annotated[
        bool, typer.Option("--rescale", help="Add the images at 0.9, 0.8, 0.7, 0.6 of their size.")
    ] = False,
    validate_every: Annotated[int, typer.Option(help="Iterations between validations.")] = 1000,
    checkpoint_every: Annotated[int, typer.Option(help="Iterations between checkpoints.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help=_SEED)] = 0,
    bicubic: Annotated[
        str, typer.Option(metavar="matlab|pil|torch", help="Convention of shrinking and enlarging.")
    ] = "matlab",
    padding_mode: Annotated[
        str, typer.Option(metavar="zeros|replicate", help="Borders of the finished network.")
    ] = "replicate",
    backend: Annotated[
        str,
        typer.Option(
            metavar="auto|fused|reference",
            help="Of the training step; auto is fused wherever there is a fused backward too.",
        ),
    ] = "auto",
    device: Device = "auto",
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write loss, lr, speed, PSNR and pictures to OUT/tensorboard. "
            "Needs pip install 'srcnn_fused[tensorboard]'.",
        ),
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads; default: PyTorch's choice.")
    ] = None,
) -> None:
    """Train a network on folders of images, and keep the weights that do best on --val.

    Ctrl-C writes a checkpoint; --resume then goes on as if nothing had happened.

    Under torchrun the processes share each batch; the result is that of one process, to rounding.
    """
    if list_recipes or write_recipe is not None:
        _about_recipes(recipe, write_recipe)
        return
    # Read when PyTorch allocates for the first time: huge pages spare most of the page faults that
    # fresh activations cost in every step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import torch

    from ..train import Stopped
    from ..train import train as run_training
    from ..training.board import TensorBoardMonitor
    from ..training.distributed import launched_rank, leave_to_another, said_by_first
    from ..training.monitor import Monitor, Monitors
    from ._messages import say
    from ._training_progress import training_progress

    with said_by_first():
        config = _config(context, recipe, data, more, out, resume, overwrite)
        board = [TensorBoardMonitor(config)] if tensorboard and launched_rank() == 0 else []
    if threads is not None:
        torch.set_num_threads(threads)

    first = launched_rank() == 0  # of torchrun's processes, the one that speaks
    progress = training_progress(config) if first else nullcontext(Monitor())
    try:
        with _stop_on_signal() as stopping, progress as monitor:
            result = run_training(
                config,
                resume=resume,
                overwrite=overwrite,
                monitor=Monitors([monitor, *board]),
                should_stop=lambda: bool(stopping),
            )
    except Stopped as stopped:
        if not first:
            leave_to_another()
        say(f"saved after {stopped.iteration} iterations; --resume goes on")
        raise
    if first:
        typer.echo(f"{result.model_path}: {result.best_psnr:.2f} dB on {Path(config.val).name}")


def _about_recipes(recipe: str | None, target: Path | None) -> None:
    from ..errors import UserError
    from ..training.recipes import list_recipes, write_recipe

    if target is None:
        shipped = list_recipes()
        width = max(map(len, shipped))
        for name, description in shipped.items():
            typer.echo(f"{name:{width}}  {description}")
        return
    if recipe is None:
        raise UserError("--write-recipe needs --recipe, the one to copy")
    write_recipe(recipe, target)
    typer.echo(f"{target}: a copy of {recipe}, for --recipe {target}")


def _config(
    context: typer.Context,
    recipe: str | None,
    data: list[Path] | None,
    more: list[Path] | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
) -> TrainConfig:
    """The recipe that the command line asks for."""
    from ..errors import UserError
    from ..training.checkpoint import CHECKPOINT_NAME, load_checkpoint
    from ..training.config import TrainConfig
    from ..training.recipes import load_recipe

    if out is None:
        raise UserError("--out must name the folder of the run")
    if resume and overwrite:
        raise UserError("--resume and --overwrite contradict each other")
    given = {**({} if recipe is None else load_recipe(recipe)), **_given(context)}
    given["out"] = str(out)
    if data or more:
        given["data"] = tuple(str(folder) for folder in (*(data or ()), *(more or ())))
    if resume:
        return replace(load_checkpoint(out / CHECKPOINT_NAME).config, **given)
    for name in ("data", "val", "scale"):
        if name not in given:
            raise UserError(f"--{name} must be given")
    return TrainConfig(**given)


def _given(context: typer.Context) -> dict[str, Any]:
    """The recipe's settings that were on the command line; the others are the recipe's defaults."""
    from ..training.config import TrainConfig

    given = {}
    for item in fields(TrainConfig):
        source = context.get_parameter_source(item.name)
        if source is not None and source.name != "DEFAULT":
            value = context.params[item.name]
            given[item.name] = str(value) if isinstance(value, Path) else value
    return given


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """Collects the first Ctrl-C (or SIGTERM) for the trainer to notice between two steps.

    The second one interrupts at once, which costs the steps since the last checkpoint and no more.
    Not under torchrun, which hands on the Ctrl-C that the terminal sent already, and kills in time.
    """
    received: list[int] = []
    launched = "TORCHELASTIC_RUN_ID" in os.environ

    def handle(number: int, frame: FrameType | None) -> None:
        if received and not launched:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
