"""The folder of a training run: ``checkpoint.pt``, the best model, ``history.csv``.

Every file is replaced in one step, so a run that is killed at any moment leaves whole files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._files import replacing
from ..errors import UserError
from ..modules import FusedSRCNN
from .config import TrainConfig

__all__ = ["CHECKPOINT_NAME", "Checkpoint", "RunFolder", "load_checkpoint"]

CHECKPOINT_NAME = "checkpoint.pt"
_FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """All that an exact continuation needs.

    Attributes:
        config: the recipe.
        iteration: steps done.
        best: best validation PSNR so far.
        loss_sum, loss_count: of the steps since the last validation.
        history: (iteration, mean loss since the row before, validation PSNR).
        model, average, optimizer, scaler: state_dicts; average is None without ``ema``.
        generator: state of the random generator that draws the crops.
        data: names and sizes of the training images, in order.
    """

    config: TrainConfig
    iteration: int
    best: float
    loss_sum: float
    loss_count: int
    history: list[tuple[int, float, float]]
    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    generator: Tensor
    data: list[str]


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path, model_name: str, former_model_name: str) -> None:
        self.path = path
        self.checkpoint_path = path / CHECKPOINT_NAME
        self.model_path = path / f"{model_name}.safetensors"
        self.history_path = path / "history.csv"
        self._former_model_path = path / f"{former_model_name}.safetensors"
        models = dict.fromkeys((self.model_path, self._former_model_path))  # often the same
        self._files = (self.checkpoint_path, *models, self.history_path)

    def open(self, *, resume: bool, overwrite: bool) -> Checkpoint | None:
        """Make the folder, or find the checkpoint to resume.

        Raises:
            UserError: there is a run already and neither ``resume`` nor ``overwrite`` was asked
                for; there is nothing to resume; or the folder cannot be made.
        """
        if resume:
            checkpoint = load_checkpoint(self.checkpoint_path)
            # The run may never again reach the PSNR of its best model so far, and write it anew.
            if self._former_model_path.exists() and not self.model_path.exists():
                with _disk_errors(self.model_path):
                    self._former_model_path.rename(self.model_path)
            return checkpoint
        present = [file.name for file in self._files if file.exists()]
        if present and not overwrite:
            raise UserError(
                f"{self.path} holds a run already ({', '.join(present)}): "
                "--resume continues it, --overwrite starts over"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {self.path} cannot be used: {error.strerror}") from None
        return None

    def clear(self) -> None:
        """Remove the files of an older run, and no others. Raises UserError if that fails."""
        for file in self._files:
            with _disk_errors(file):
                file.unlink(missing_ok=True)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint, then the history beside it."""
        content = {item.name: getattr(checkpoint, item.name) for item in fields(Checkpoint)}
        content["config"] = checkpoint.config.to_dict()
        with _disk_errors(self.checkpoint_path), replacing(self.checkpoint_path) as temporary:
            torch.save({"format": _FORMAT, **content}, temporary)
        rows = [f"{step},{loss:.6e},{psnr:.4f}\n" for step, loss, psnr in checkpoint.history]
        with _disk_errors(self.history_path), replacing(self.history_path) as temporary:
            temporary.write_text("iteration,loss,val_psnr\n" + "".join(rows))

    def save_model(
        self, model: FusedSRCNN, config: TrainConfig, iteration: int, psnr: float
    ) -> None:
        """Write the weights with the recipe that made them."""
        recipe = config.to_dict()
        del recipe["out"], recipe["device"]
        # A folder's name says which data set it is; where it lay is nobody's business.
        recipe["data"] = [Path(folder).resolve().name for folder in config.data]
        recipe["val"] = Path(config.val).resolve().name
        recipe["init"] = config.init and Path(config.init).name
        training = {**recipe, "iteration": iteration, "val_psnr": round(psnr, 4)}
        with _disk_errors(self.model_path):
            model.save_pretrained(self.model_path, metadata={"training": training})


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises UserError where there is no checkpoint, or it cannot be read."""
    if not path.is_file():
        raise UserError(f"there is no run to resume: {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("format") != _FORMAT:
            raise UserError(f"{path} was written by another version of this program")
        content["config"] = TrainConfig.from_dict(content["config"])
        content["history"] = [tuple(row) for row in content["history"]]
        return Checkpoint(**content)
    except UserError:
        raise
    except Exception as error:  # a damaged pickle makes torch.load raise nearly anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as a checkpoint: {line}") from None


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """A full disk and the like, as one line; the older file is still there."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    except RuntimeError as error:  # how torch.save reports a failed write
        raise UserError(f"{path} cannot be written: {str(error).splitlines()[0]}") from None
