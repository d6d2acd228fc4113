"""`srcnn-fused train`: a network from folders of images."""

# The recipe's options are read off the context, which knows which of them were given.
# ruff: noqa: ARG001

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ._options import Device

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
    network: Annotated[str, typer.Option(help="Kernel sizes f1-f2-f3.")] = "9-1-5",
    widths: Annotated[
        str, typer.Option(help="Feature maps n1-n2; others than 64-32 train on the reference.")
    ] = "64-32",
    color: Annotated[
        str,
        typer.Option(
            metavar="luma|rgb|ycbcr",
            help="What the network takes and gives. PSNR is measured on luma in any case; a ycbcr "
            "network is saved as the RGB network that equals it.",
        ),
    ] = "luma",
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
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    crop: Annotated[int, typer.Option(help="Side of a target crop in pixels.")] = 48,
    optimizer: Annotated[
        str,
        typer.Option(metavar="adam|sgd", help="sgd: momentum 0.9, the papers' scale of loss."),
    ] = "adam",
    lr: Annotated[
        float, typer.Option(help="Learning rate of the first two layers (papers: 1e-4).")
    ] = 1e-3,
    lr_last: Annotated[
        float, typer.Option(help="Learning rate of the last layer (papers: 1e-5).")
    ] = 1e-4,
    schedule: Annotated[
        str, typer.Option(metavar="cosine|constant", help="Learning rate over the iterations.")
    ] = "cosine",
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
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads; default: PyTorch's choice.")
    ] = None,
) -> None:
    """Train a network on folders of images, and keep the weights that do best on --val.

    Ctrl-C writes a checkpoint; --resume then goes on as if nothing had happened.
    """
    # Read when PyTorch allocates for the first time: huge pages spare most of the page faults that
    # fresh activations cost in every step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import torch

    from ..errors import UserError
    from ..train import Stopped, TrainConfig
    from ..train import train as run_training
    from ..training.checkpoint import CHECKPOINT_NAME, load_checkpoint
    from ._messages import say
    from ._training_progress import training_progress

    if out is None:
        raise UserError("--out must name the folder of the run")
    if resume and overwrite:
        raise UserError("--resume and --overwrite contradict each other")
    given = _given(context)
    given["out"] = str(out)
    if data or more:
        given["data"] = tuple(str(folder) for folder in (*(data or ()), *(more or ())))
    if resume:
        config = replace(load_checkpoint(out / CHECKPOINT_NAME).config, **given)
    else:
        for name in ("data", "val", "scale"):
            if name not in given:
                raise UserError(f"--{name} must be given")
        config = TrainConfig(**given)
    if threads is not None:
        torch.set_num_threads(threads)

    try:
        with _stop_on_signal() as stopping, training_progress(config) as monitor:
            result = run_training(
                config,
                resume=resume,
                overwrite=overwrite,
                monitor=monitor,
                should_stop=lambda: bool(stopping),
            )
    except Stopped as stopped:
        say(f"saved after {stopped.iteration} iterations; --resume goes on")
        raise
    typer.echo(f"{result.model_path}: {result.best_psnr:.2f} dB on {Path(config.val).name}")


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
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
