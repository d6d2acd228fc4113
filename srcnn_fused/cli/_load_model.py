"""-m, -s, --device, --backend and their like: words of the command line -> a network to run."""

from __future__ import annotations

import torch

from .. import pretrained
from .._checks import CONVENTIONS, PADDING_MODES
from ..errors import UserError
from ..functional import BACKENDS
from ..modules import FusedSRCNN
from ._messages import say

__all__ = ["DEFAULT_SCALE", "DTYPES", "load_model"]

DEFAULT_SCALE = 3  # where neither the user nor the model says one
DTYPES = ("float32", "float64", "float16", "bfloat16")


def load_model(
    model: str,
    scale: int | None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    backend: str = "auto",
    bicubic: str | None = None,
    padding_mode: str | None = None,
    any_scale: bool = False,
) -> FusedSRCNN:
    """The network, ready for images, with its scale settled.

    ``bicubic`` and ``padding_mode`` go before what the model says. With ``any_scale``, a model that
    was made for another scale is taken, and the user told so.

    Raises:
        UserError: no such model, an unreadable one, one that was made for another scale or for
            something other than images; a device this machine does not have; unknown words.
    """
    if scale is not None and scale < 1:
        raise UserError(f"--scale must be a positive integer, got {scale}")
    overrides = {"bicubic": bicubic, "padding_mode": padding_mode}
    for option, value, known in (
        ("--backend", backend, BACKENDS),
        ("--dtype", dtype, DTYPES),
        ("--bicubic", bicubic, CONVENTIONS),
        ("--padding-mode", padding_mode, PADDING_MODES),
    ):
        if value is not None and value not in known:
            raise UserError(f"{option} must be one of {', '.join(known)}, got {value!r}")
    where = _choose_device(device)
    try:
        if scale is None and not _is_complete(model):
            path = pretrained.find(model, DEFAULT_SCALE)
        else:
            path = pretrained.find(model, scale)
        made_for = pretrained.load(path)[1].get("scale")
        is_other = made_for is not None and scale not in (None, made_for)
        if is_other and not any_scale:
            raise UserError(
                f"-s {scale}: model {model} was made for scale {made_for}; "
                "choose another model, or leave -s out"
            )
        chosen = scale or made_for or DEFAULT_SCALE
        given = {name: value for name, value in overrides.items() if value is not None}
        network = FusedSRCNN.from_pretrained(path, scale=chosen, backend=backend, **given)
    except (ValueError, OSError) as error:
        raise UserError(f"-m {model}: {error}") from None
    if network.num_channels not in (1, 3):
        raise UserError(
            f"-m {model}: images need a model of 1 or 3 channels, it has {network.num_channels}"
        )
    if is_other:
        say(f"note: {model} was made for x{made_for}, and is run at x{chosen}")
    return network.to(where, getattr(torch, dtype)).eval()


def _is_complete(model: str) -> bool:
    """Whether it names one model by itself, without a scale."""
    try:
        pretrained.find(model)
    except FileNotFoundError:
        return False
    return True


def _choose_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UserError(f"--device must be auto, cpu or cuda, got {name!r}")
    if kind == "cuda":
        if not torch.cuda.is_available():
            why = "CUDA finds none" if torch.version.cuda else "this PyTorch has no CUDA"
            raise UserError(f"--device {name}: no GPU can be used here ({why})")
        count = torch.cuda.device_count()
        if index and int(index) >= count:
            raise UserError(f"--device {name}: this machine has {count} GPU(s), counted from 0")
    return torch.device(name)
