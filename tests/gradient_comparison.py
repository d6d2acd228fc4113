"""Compares gradients with float64 ones, by the worst element and as a whole.

A single wrong element hides in a norm, and a small bias of all elements in their tolerance: both
are looked at, each relative to the gradient's own size, since gradients come in all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NAMES = ("x", "weight1", "bias1", "weight2", "bias2", "weight3", "bias3")
TOLERANCE = 1e-5


def errors(actual: Tensor, expected: Tensor) -> tuple[float, float, float]:
    """Largest difference over the largest value, norm of the difference over the norm, and the
    difference along the expected gradient (what a step of gradient descent would be too long by).

    NaN where exactly one of the two is NaN counts as an infinite difference.
    """
    if expected.numel() == 0:
        return 0.0, 0.0, 0.0
    actual = actual.double()
    both_nan = actual.isnan() & expected.isnan()
    difference = torch.where(both_nan, 0.0, actual - expected).nan_to_num(
        nan=torch.inf, posinf=torch.inf, neginf=-torch.inf
    )
    expected = torch.where(expected.isnan(), 0.0, expected)
    if not difference.any():
        return 0.0, 0.0, 0.0
    norm = expected.norm()
    along = (difference * expected).sum().abs() / norm**2
    worst = difference.abs().max() / expected.abs().max()
    return worst.item(), (difference.norm() / norm).item(), along.item()


def assert_gradients_close(
    actual: Sequence[Tensor],
    expected: Sequence[Tensor],
    names: Sequence[str] = NAMES,
    tolerance: float = TOLERANCE,
) -> None:
    """Raises AssertionError naming the gradient, what is wrong with it and by how much."""
    assert len(actual) == len(expected), f"{len(actual)} gradients, expected {len(expected)}"
    for got, want, name in zip(actual, expected, names, strict=True):
        assert got.shape == want.shape, f"{name} is {list(got.shape)}, expected {list(want.shape)}"
        assert got.is_contiguous(), f"{name} is not contiguous"
        worst, norm, along = errors(got, want)
        assert worst <= tolerance, f"{name}: an element is off by {worst:.1e} of the largest"
        assert norm <= tolerance, f"{name}: off by {norm:.1e} of its norm"
        assert along <= tolerance, f"{name}: too long or too short by {along:.1e}"
