"""The processes that train one network together, as torchrun starts them.

Every process holds the whole network and all images, draws the crops of the whole batch from the
same generator, and computes its share of them. Gradients and loss are summed in one collective a
step: a network of 8 to 60 thousand weights is a single bucket of DistributedDataParallel's, whose
hooks would see nothing of a fused op that takes the weights as arguments.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UserError

__all__ = ["Workers", "launched_rank", "leave_to_another", "own_device", "said_by_first", "workers"]

T = TypeVar("T")
# What torchrun tells each process that it starts.
_LAUNCH = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_PATIENCE = 20.0  # seconds that a process waits for another one's last words


def launched_rank() -> int:
    """This process's number among those that torchrun started; 0 where it did not."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def _is_launched() -> bool:
    return dist.is_available() and os.environ.keys() >= _LAUNCH


@dataclass(frozen=True)
class Workers:
    """This process among those of the run: number ``rank`` of ``size``, computing on ``device``."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that validates, writes and reports."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of ``count`` crops are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in one collective."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _ended_elsewhere():
            dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor([float(flag)], device=self.device)
        self.sum_([count])
        return bool(count.item())

    def together(self, action: Callable[[], T]) -> T:
        """Run ``action`` everywhere. If it raises UserError anywhere, all end and one says why.

        Raises:
            UserError: in the first process that failed.
            SystemExit: in the others.
        """
        if self.size == 1:
            return action()
        result: list[T] = []
        failure: UserError | None = None
        try:
            result.append(action())
        except UserError as error:
            failure = error
        failed: list[bool] = [False] * self.size
        with _ended_elsewhere():
            dist.all_gather_object(failed, failure is not None)
        if any(failed):
            if failure is None or failed.index(True) != self.rank:
                leave_to_another()
            raise failure
        return result[0]

    def from_first(self, action: Callable[[], T]) -> T:
        """Run ``action`` in the first process and hand its result (picklable) to all.

        Raises as :meth:`together`.
        """
        result = self.together(lambda: action() if self.is_first else None)
        box: list[T | None] = [result]
        if self.size > 1:
            with _ended_elsewhere():
                dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]


def own_device(device: str) -> torch.device:
    """Where this process computes.

    Args:
        device: "auto", "cpu" or "cuda". Under torchrun each process of a machine takes the CUDA
            device of its number there; "auto" takes the CPU where there are too few.

    Raises:
        UserError: no CUDA device, or too few, for "cuda".
    """
    local, needed = 0, 1
    if _is_launched():
        local, needed = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and found == 0:
        raise UserError("--device cuda: no CUDA device is available to this PyTorch")
    if device == "cuda" and found < needed:
        raise UserError(f"--device cuda: {needed} processes need as many devices, found {found}")
    if device == "cpu" or found < needed:
        return torch.device("cpu")
    return torch.device("cuda", local) if _is_launched() else torch.device("cuda")


@contextmanager
def workers(device: torch.device) -> Iterator[Workers]:
    """Join the processes that torchrun started (gloo on CPUs, NCCL on GPUs), or be the only one."""
    if not _is_launched():
        yield Workers(0, 1, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


@contextmanager
def _ended_elsewhere() -> Iterator[None]:
    """A collective that fails because another process is gone, which has said why."""
    try:
        yield
    except RuntimeError:
        leave_to_another()


@contextmanager
def said_by_first() -> Iterator[None]:
    """Around what fails in every process alike: only the first one raises the UserError."""
    try:
        yield
    except UserError:
        if launched_rank() > 0:
            leave_to_another()
        raise


def leave_to_another() -> NoReturn:
    """End this process because of what another one reports, but not before that one has done so.

    torchrun ends all as soon as one is gone.
    """
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(_PATIENCE)
    raise SystemExit(1)
