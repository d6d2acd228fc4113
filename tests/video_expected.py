"""What video tests expect of planes, without PyAV."""

import numpy as np
import torch


def expected_luma(plane, model, depth, full_range):
    """By the formulas: studio swing in units of 255 goes in, whatever the file has."""
    top = 2**depth - 1
    values = torch.from_numpy(plane.astype(np.float64))
    studio = 16 + 219 * values / top if full_range else values / 2 ** (depth - 8)
    out = model((studio / 255).float()[None, None]).double()[0, 0].detach() * 255
    out = (out - 16) / 219 * top if full_range else out * 2 ** (depth - 8)
    return out.numpy()


def assert_rounded(plane, exact, depth):
    """Equal to the rounded value, but for float32's error in what is rounded."""
    exact = np.clip(exact, 0, 2**depth - 1)
    assert np.abs(plane - exact).max() <= 0.5 + 1e-6 * 2**depth
