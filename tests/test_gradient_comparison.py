"""The comparison of gradients that other tests rely on finds what it is there to find."""

from __future__ import annotations

import math

import pytest
import torch
from gradient_comparison import assert_gradients_close, errors
from torch import Tensor


def gradient() -> Tensor:
    return torch.randn(64, 1, 9, 9, dtype=torch.float64)


def check(actual: Tensor, expected: Tensor) -> None:
    assert_gradients_close([actual], [expected], ["weight1"])


@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_rounding_to_float32_passes(size: float) -> None:
    expected = size * gradient()
    check(expected.float(), expected)


def test_equal_zeros_and_nothing_at_all_pass() -> None:
    check(torch.zeros(3), torch.zeros(3, dtype=torch.float64))
    check(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.float64))


@pytest.mark.parametrize("size", [1e-10, 1.0, 1e10])
def test_one_wrong_element_is_found(size: float) -> None:
    expected = size * gradient()
    actual = expected.clone()
    actual[5, 0, 3, 2] += 2e-5 * expected.abs().max()
    assert errors(actual, expected)[1] < 1e-5
    with pytest.raises(AssertionError, match=r"weight1: an element is off by 2\.0e-05"):
        check(actual, expected)


def test_small_errors_of_all_elements_are_found() -> None:
    expected = gradient()
    actual = expected + 0.9e-5 * expected.abs().max() * torch.randn_like(expected).sign()
    with pytest.raises(AssertionError, match=r"weight1: off by .* of its norm"):
        check(actual, expected)


def test_a_wrong_length_is_found() -> None:
    expected = gradient()
    assert errors(1.1 * expected, expected) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_element_that_was_left_out_is_found(value: float) -> None:
    expected = gradient()
    actual = expected.clone()
    actual[0, 0, 0, 0] = value
    with pytest.raises(AssertionError, match="an element is off by inf"):
        check(actual, expected)
    with pytest.raises(AssertionError, match="an element is off by inf"):
        check(expected, actual.nan_to_num(posinf=math.nan, neginf=math.nan, nan=math.nan))


def test_nan_where_nan_belongs_passes() -> None:
    expected = gradient()
    expected[1, 0, 0, 0] = math.nan
    check(expected.float(), expected)


def test_shape_number_and_layout_are_looked_at() -> None:
    expected = gradient()
    with pytest.raises(AssertionError, match=r"weight1 is \[64, 81\]"):
        check(expected.reshape(64, 81), expected)
    with pytest.raises(AssertionError, match="0 gradients, expected 1"):
        assert_gradients_close([], [expected], ["weight1"])
    with pytest.raises(AssertionError, match="not contiguous"):
        check(expected.transpose(2, 3).contiguous().transpose(2, 3), expected)
