"""The fused CPU forward against the float64 reference, on the whole table of cases."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from sample_inputs import (
    CASES,
    CONVENTIONS,
    LAYOUTS,
    PADDING_MODES,
    STRIP_WIDTHS,
    Case,
    image,
)
from torch import Tensor

from srcnn_fused import FusedSRCNN, _extension, functional, pretrained, reference

# More threads would cut the images into narrower strips than the table means to try.
pytestmark = pytest.mark.usefixtures("extension", "one_thread")

TOLERANCE = 1e-5
TOLERANCES = {"direct": TOLERANCE, "winograd": 5e-5}  # of the forward, by algorithm


@functools.cache
def expected(case: Case) -> Tensor:
    with torch.no_grad():
        return reference.srcnn(*case.tensors(torch.float64), **case.options)


def test_the_table_has_the_cases_it_promises() -> None:
    assert len(set(CASES)) >= 200
    assert {case.layout for case in CASES} == set(LAYOUTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_srcnn_equals_the_float64_reference(case: Case, isa: str, algorithm: str) -> None:
    with torch.no_grad():
        actual = functional.srcnn(*case.tensors(), **case.options, backend="fused")
    assert actual.shape == expected(case).shape
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected(case), rtol=0, atol=TOLERANCES[algorithm])


@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case.name)
def test_srcnn_by_pixels_equals_the_float64_reference(
    case: Case, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRCNN_FUSED_CPU_ALGO", "pixels")
    with torch.no_grad():
        actual = functional.srcnn(*case.tensors(), **case.options, backend="fused")
    tolerance = TOLERANCES["winograd"]
    torch.testing.assert_close(actual.double(), expected(case), rtol=0, atol=tolerance)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("kernel2", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 41, 77), (2, 3, 150), (7, 5, 6)], ids=str)
def test_srcnn_does_not_depend_on_the_number_of_threads(
    shape: tuple[int, int, int], kernel2: int, threads: int, isa: str, algorithm: str
) -> None:
    case = Case(kernel2, 1, "replicate", 2, "matlab", shape)
    torch.set_num_threads(threads)
    with torch.no_grad():
        actual = functional.srcnn(*case.tensors(), **case.options, backend="fused")
    torch.testing.assert_close(actual.double(), expected(case), rtol=0, atol=TOLERANCES[algorithm])


@pytest.mark.parametrize("scale", [1, 4, 7])
def test_srcnn_takes_any_integer_scale(scale: int, isa: str, algorithm: str) -> None:
    case = Case(1, 1, "zeros", scale, "matlab", (1, 11, 6))
    actual = functional.srcnn(*case.tensors(), **case.options, backend="fused")
    torch.testing.assert_close(actual.double(), expected(case), rtol=0, atol=TOLERANCES[algorithm])


def test_srcnn_takes_weights_of_any_strides(isa: str, algorithm: str) -> None:
    case = Case(3, 3, "zeros", None, "matlab", (1, 8, 9))
    x, *parameters = case.tensors()
    strided = [torch.stack([p, p.new_full(p.shape, math.nan)], dim=-1)[..., 0] for p in parameters]
    actual = functional.srcnn(x, *strided, **case.options, backend="fused")
    torch.testing.assert_close(actual.double(), expected(case), rtol=0, atol=TOLERANCES[algorithm])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("kernel2", [1, 3])
@pytest.mark.parametrize("scale", [None, 3])
def test_nan_and_inf_spread_as_in_the_reference(
    value: float, padding_mode: str, kernel2: int, scale: int | None, isa: str, algorithm: str
) -> None:
    case = Case(kernel2, 1, padding_mode, scale, "matlab", (1, 24, 27))
    x, *parameters = case.tensors()
    x[0, 0, 0, 0] = x[0, 0, 20, 13] = value
    actual = functional.srcnn(x, *parameters, **case.options, backend="fused")
    exact = reference.srcnn(x.double(), *(p.double() for p in parameters), **case.options)
    assert exact.isfinite().any()
    assert not exact.isfinite().all()
    torch.testing.assert_close(actual.double(), exact, rtol=0, atol=TOLERANCE, equal_nan=True)


def test_an_unusable_instruction_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCNN_FUSED_CPU_ISA", "sse9")
    with pytest.raises(RuntimeError, match=r"SRCNN_FUSED_CPU_ISA must be one of .*got 'sse9'"):
        functional.srcnn(*Case(1, 1, "zeros", None, "matlab", (1, 2, 2)).tensors())


def test_an_unknown_algorithm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCNN_FUSED_CPU_ALGO", "fft")
    message = "SRCNN_FUSED_CPU_ALGO must be one of auto, direct, winograd, pixels, got 'fft'"
    with pytest.raises(RuntimeError, match=message):
        functional.srcnn(*Case(1, 1, "zeros", None, "matlab", (1, 2, 2)).tensors())


def test_the_extension_tells_the_algorithm_that_runs(algorithm: str) -> None:
    module = _extension.module()
    assert {module.cpu_algorithm(k, c) for k in (1, 3, 5) for c in (1, 3)} == {algorithm}


@pytest.mark.parametrize("name", pretrained.list_pretrained())
def test_winograd_keeps_trained_networks_within_its_tolerance(
    name: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRCNN_FUSED_CPU_ALGO", "winograd")
    model = FusedSRCNN.from_pretrained(name, backend="fused")
    exact = FusedSRCNN.from_pretrained(name, backend="reference").double()
    x = image((1, model.num_channels, 40, 53))
    with torch.no_grad():
        difference = model(x).double() - exact(x.double())
    assert difference.abs().max() <= TOLERANCES["winograd"]


# --- bicubic_resize -------------------------------------------------------------------------------

RESIZE_SHAPES = ((1, 1, 1, 1), (2, 3, 1, 7), (1, 1, 5, 4), (0, 1, 3, 3), (1, 3, 37, 70))
RESIZES = (
    {"scale": 2},
    {"scale": 3.0},
    {"scale": 0.5},
    {"scale": 1 / 3},
    {"scale": 1},
    {"scale": 1.37},
    {"scale": (0.3, 2.5)},
    {"scale": (2, 1)},
    {"size": (1, 1)},
    {"size": (40, 3)},
    {"size": (7, 129)},
)


@pytest.mark.parametrize("kwargs", RESIZES, ids=str)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_bicubic_resize_equals_the_float64_reference(
    convention: str, kwargs: dict[str, object], isa: str
) -> None:
    for shape, layout in itertools.product(RESIZE_SHAPES, ("contiguous", "channels_last", "slice")):
        x = image(shape, layout)
        actual = functional.bicubic_resize(x, **kwargs, convention=convention, backend="fused")
        exact = reference.bicubic_resize(x.double(), **kwargs, convention=convention)
        assert actual.shape == exact.shape
        torch.testing.assert_close(actual.double(), exact, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scale", [0.4, 1, 2, 2.7])
def test_bicubic_resize_spreads_nan_and_inf_as_the_reference(
    convention: str, scale: float, isa: str
) -> None:
    for value in (math.nan, math.inf):
        x = image((1, 1, 19, 23))
        x[0, 0, 0, 0] = x[0, 0, 9, 12] = value
        actual = functional.bicubic_resize(x, scale=scale, convention=convention, backend="fused")
        exact = reference.bicubic_resize(x.double(), scale=scale, convention=convention)
        assert not exact.isfinite().all()
        torch.testing.assert_close(actual.double(), exact, rtol=0, atol=TOLERANCE, equal_nan=True)


@pytest.mark.parametrize("kernel2", STRIP_WIDTHS)
def test_the_table_of_cases_goes_around_the_widest_strip(kernel2: int) -> None:
    widest = _extension.module().cpu_widest_strip(kernel2)
    assert STRIP_WIDTHS[kernel2] == (widest - 1, widest, widest + 1, 2 * widest + 1)


# --- bfloat16 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel2", [1, 3, 5])
@pytest.mark.parametrize("scale", [None, 2])
def test_bfloat16_is_float32_rounded_once(
    kernel2: int, scale: int | None, isa: str, algorithm: str
) -> None:
    case = Case(kernel2, 3, "replicate", scale, "matlab", (2, 11, 40))
    tensors = case.tensors(torch.bfloat16)
    wide = functional.srcnn(*(t.float() for t in tensors), **case.options, backend="fused")
    actual = functional.srcnn(*tensors, **case.options, backend="fused")
    assert actual.dtype == torch.bfloat16
    assert torch.equal(actual, wide.bfloat16())


def test_bfloat16_gradients_are_those_of_float32_rounded_once() -> None:
    case = Case(3, 1, "zeros", 2, "matlab", (2, 9, 12))
    tensors = [tensor.requires_grad_() for tensor in case.tensors(torch.bfloat16)]
    wide = [tensor.detach().float().requires_grad_() for tensor in tensors]
    y = functional.srcnn(*tensors, **case.options, backend="fused")
    grad = torch.randn(y.shape).bfloat16()
    actual = torch.autograd.grad(y, tensors, grad)
    y = functional.srcnn(*wide, **case.options, backend="fused")
    expected = torch.autograd.grad(y, wide, grad.float())
    assert all(torch.equal(a, e.bfloat16()) for a, e in zip(actual, expected, strict=True))
