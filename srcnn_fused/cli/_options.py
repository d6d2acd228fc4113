"""Options that several commands have, as the types of their parameters."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Backend", "Device", "Model", "Scale"]

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A shipped name (9-1-5-x3, or 9-1-5, completed by -s) or a file.",
    ),
]
Scale = Annotated[
    int | None,
    typer.Option(
        "--scale",
        "-s",
        metavar="N",
        help="Enlargement: any positive integer that the model was trained for (shipped: 2, 3, 4). "
        "Default: the model's own, 3 where it does not say.",
    ),
]
Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="auto: the GPU where there is one.")
]
Backend = Annotated[str, typer.Option(metavar="auto|fused|reference", help="How the network runs.")]
