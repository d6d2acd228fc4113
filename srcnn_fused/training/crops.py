"""Random crops of training pairs: drawn as numbers, cut by one gather a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..data import TrainingPair, orient

__all__ = ["CropSampler"]


class CropSampler:
    """Random crops of training pairs, every position of every image being equally likely.

    Crops are flipped and turned at random (eight orientations). The input crop is larger than the
    target by ``margin`` on every side, so that unpadded convolutions of that receptive radius give
    exactly the target's size. A crop is one number, so that the state of the generator which draws
    them is all there is to save, and any process can cut any part of a batch.

    Args:
        pairs: from :func:`srcnn_fused.data.load_pairs`, each side at least ``crop + 2 * margin``.
        crop: side of the target crops.
        margin: receptive radius of the network.
        device: of the crops. The images are kept there too if they take a quarter of its free
            memory at most: a GPU would wait for crops that the CPU cuts.

    Attributes:
        pairs: the same, as views of this sampler's copy (the others may be freed).
    """

    def __init__(
        self,
        pairs: Sequence[TrainingPair],
        crop: int,
        margin: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.crop = crop
        self.margin = margin
        self.device = torch.device(device)
        side = crop + 2 * margin
        positions = []
        for pair in pairs:
            height, width = pair.truth.shape[1:]
            if min(height, width) < side:
                raise ValueError(f"{pair.name} is {width}x{height}, smaller than a crop of {side}")
            positions.append((height - side + 1) * (width - side + 1))
        self._enlarged = torch.cat([pair.enlarged.reshape(-1) for pair in pairs])
        self._truth = torch.cat([pair.truth.reshape(-1) for pair in pairs])
        sizes = [pair.truth.numel() for pair in pairs]
        self.pairs = [
            TrainingPair(pair.name, enlarged.view_as(pair.truth), truth.view_as(pair.truth))
            for pair, enlarged, truth in zip(
                pairs,
                torch.split(self._enlarged, sizes),
                torch.split(self._truth, sizes),
                strict=True,
            )
        ]
        place = self.device if self._fits_on_device() else torch.device("cpu")
        self._enlarged, self._truth = self._enlarged.to(place), self._truth.to(place)

        def table(values: list[int]) -> Tensor:
            return torch.tensor(values, device=place)

        self._starts = table(sizes).cumsum(0) - table(sizes)
        self._widths = table([pair.truth.shape[2] for pair in pairs])
        self._planes = table([pair.truth[0].numel() for pair in pairs])
        self._ends = table(positions).cumsum(0)
        self._positions = sum(positions)
        self._channels = torch.arange(pairs[0].truth.shape[0], device=place)
        # Row and column of each pixel of a crop in the image, from the crop's corner on.
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        self._rows, self._columns = (
            torch.stack([orient(grid, orientation) for orientation in range(8)]).to(place)
            for grid in (rows, columns)
        )

    def _fits_on_device(self) -> bool:
        if self.device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return 4 * (self._enlarged.nbytes + self._truth.nbytes) <= free

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` crops as numbers, int64 [count]: one call of the generator, on the CPU."""
        return torch.randint(8 * self._positions, (count,), generator=generator)

    def cut(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """The crops of :meth:`draw`, float32: input [n, c, C, C] and target [n, c, crop, crop].

        C is ``crop + 2 * margin``. Both in [0, 1].
        """
        draws = draws.to(self._ends.device)
        position, orientation = draws // 8, draws % 8
        image = torch.searchsorted(self._ends, position, right=True)
        position = position - (self._ends[image - 1] * (image > 0))
        width = self._widths[image]
        columns = width - (self.crop + 2 * self.margin) + 1
        corner = self._starts[image] + position // columns * width + position % columns
        planes = self._channels * self._planes[image, None]

        # From here on arrays of the crops' size, for which NumPy and tensors read alike.
        view = self._view
        turned = view(orientation)
        index = view(self._rows)[turned] * view(width)[:, None, None]
        index += view(self._columns)[turned]
        index += view(corner)[:, None, None]
        index = index[:, None] + view(planes)[:, :, None, None]
        inner = slice(self.margin, self.margin + self.crop)
        x = torch.as_tensor(view(self._enlarged)[index])
        target = torch.as_tensor(view(self._truth)[index[..., inner, inner]])
        return x.to(self.device), target.to(self.device, torch.float32).div_(255)

    @staticmethod
    def _view(tensor: Tensor) -> Any:
        """On the CPU as NumPy's, which gathers in one thread.

        Work of a tenth of a millisecond is not worth a thread pool, which waits for its last thread
        however long a busy machine keeps that one from running (there 23 ms a batch instead of 4).
        """
        return tensor.numpy() if tensor.device.type == "cpu" else tensor

    def batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """:meth:`draw` and :meth:`cut`."""
        return self.cut(self.draw(count, generator))
