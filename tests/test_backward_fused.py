"""The fused CPU backward against float64 autograd of the reference, on a table of cases."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from gradient_comparison import NAMES, assert_gradients_close
from sample_inputs import CASES, KERNEL2, LAYOUTS, PADDING_MODES, Case, decisive_seed, image
from torch import Tensor

from srcnn_fused import FusedSRCNN, ops, reference

pytestmark = pytest.mark.usefixtures("extension")

ALL = (True,) * 7
WEIGHTS = (False, *ALL[1:])

# Around the widest pieces of a tile: 64 (128 with the gradient of the input) for a second layer of
# 1, 160 for one of 3, 96 for one of 5. Around segments: at least 16 or 48 rows.
PIECE_WIDTHS = {1: (63, 64, 65, 127, 128, 129), 3: (159, 160, 161), 5: (95, 96, 97, 193)}
SEGMENT_HEIGHTS = {1: (31, 32, 33, 97), 3: (95, 96, 97), 5: (95, 96, 97)}


def _table() -> list[Case]:
    paddings = itertools.cycle(PADDING_MODES)
    cases = CASES[::3]
    for kernel2 in KERNEL2:
        cases += [
            Case(kernel2, 1, next(paddings), None, "matlab", (1, 3, width))
            for width in PIECE_WIDTHS[kernel2]
        ]
        cases += [
            Case(kernel2, 1, next(paddings), None, "matlab", (1, height, 4))
            for height in SEGMENT_HEIGHTS[kernel2]
        ]
        cases += [
            Case(kernel2, 1, next(paddings), 2, "pil", (1, 2, 67)),
            Case(kernel2, 3, next(paddings), 3, "torch", (1, 34, 3)),
            Case(kernel2, 1, next(paddings), 4, "matlab", (37, 2, 1)),  # more tiles than groups
        ]
    return list(dict.fromkeys(cases))


TABLE = _table()


def grad_output_of(case: Case, layout: str = "contiguous") -> Tensor:
    batch, height, width = case.shape
    scale = case.scale or 1
    shape = (batch, case.channels, height * scale, width * scale)
    generator = torch.Generator().manual_seed(decisive_seed(case))
    return 2 * image(shape, layout, generator) - 0.7


@functools.cache
def expected(case: Case, layout: str = "contiguous") -> tuple[Tensor, ...]:
    """float64 autograd through the reference."""
    tensors = [t.requires_grad_() for t in case.tensors(torch.float64, decisive_seed(case))]
    output = reference.srcnn(*tensors, **case.options)
    return torch.autograd.grad(output, tensors, grad_output_of(case, layout).double())


def fused(case: Case, wanted: tuple[bool, ...] = ALL, layout: str = "contiguous") -> list[Tensor]:
    tensors = case.tensors(seed=decisive_seed(case))
    options = (case.scale or 1, case.bicubic, case.padding_mode)
    return ops.srcnn_backward(grad_output_of(case, layout), *tensors, *options, wanted)


def test_the_table_has_the_cases_it_promises() -> None:
    assert len(TABLE) >= 100
    assert {case.layout for case in TABLE} == set(LAYOUTS)
    options = {(c.kernel2, c.channels, c.padding_mode, c.scale, c.bicubic) for c in TABLE}
    assert len(options) >= 80


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_gradients_equal_float64_autograd(case: Case, isa: str) -> None:
    assert_gradients_close(fused(case), expected(case))


@pytest.mark.parametrize("case", TABLE[::4], ids=lambda case: case.name)
def test_gradients_without_that_of_the_input(case: Case, isa: str) -> None:
    # The tiles are others then.
    assert_gradients_close(fused(case, WEIGHTS), expected(case)[1:], NAMES[1:])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_grad_output_of_any_strides(layout: str, channels: int, isa: str) -> None:
    case = Case(3, channels, "replicate", 2, "matlab", (2, 4, 5))
    assert_gradients_close(fused(case, layout=layout), expected(case, layout))


@pytest.mark.parametrize(
    "case",
    [
        Case(1, 1, "zeros", None, "matlab", (2, 5, 6)),
        Case(3, 3, "replicate", 2, "pil", (1, 4, 3)),
        Case(5, 1, "replicate", None, "matlab", (1, 6, 5)),
    ],
    ids=lambda case: case.name,
)
def test_every_combination_of_wanted_gradients(case: Case) -> None:
    for wanted in itertools.product((False, True), repeat=7):
        chosen = [list(itertools.compress(values, wanted)) for values in (expected(case), NAMES)]
        assert_gradients_close(fused(case, wanted), *chosen)


@pytest.mark.parametrize(
    "case",
    [
        Case(1, 1, "zeros", None, "matlab", (3, 40, 70)),
        Case(1, 3, "replicate", 3, "matlab", (5, 9, 30)),
        Case(3, 1, "replicate", 2, "torch", (1, 50, 9)),
        Case(5, 1, "zeros", None, "matlab", (2, 100, 7)),
    ],
    ids=lambda case: case.name,
)
@pytest.mark.parametrize("wanted", [ALL, WEIGHTS], ids=["all", "weights"])
def test_gradients_are_the_same_bits_every_time_with_any_number_of_threads(
    case: Case, wanted: tuple[bool, ...], isa: str
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = fused(case, wanted)
        for threads in (1, 1, 2, 2, 3, 3):
            torch.set_num_threads(threads)
            for one, other in zip(first, fused(case, wanted), strict=True):
                assert torch.equal(one, other)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("scale", [1, 4, 7])
def test_any_integer_scale(scale: int, isa: str) -> None:
    case = Case(1, 1, "replicate", scale, "matlab", (1, 5, 3))
    assert_gradients_close(fused(case), expected(case))


def test_no_images_have_gradients_of_zero(isa: str) -> None:
    case = Case(5, 3, "zeros", 2, "pil", (0, 4, 5))
    gradients = fused(case)
    assert gradients[0].shape == (0, 3, 4, 5)
    for gradient in gradients[1:]:
        assert not gradient.any()


def test_where_a_feature_is_0_nothing_passes_and_where_it_is_nan_everything_does(isa: str) -> None:
    case = Case(3, 1, "zeros", None, "matlab", (1, 9, 12))
    x, *parameters = case.tensors()
    parameters[0][:] = 0
    parameters[1][:] = 0  # every feature of the first layer is exactly 0
    tensors = (x, *parameters)
    grad_output = grad_output_of(case)
    for value in (0.0, math.nan):
        x[0, 0, 4, 3] = value
        exact = [t.double().requires_grad_() for t in tensors]
        output = reference.srcnn(*exact, **case.options)
        want = torch.autograd.grad(output, exact, grad_output.double())
        got = ops.srcnn_backward(grad_output, *tensors, 1, "matlab", "zeros", ALL)
        assert_gradients_close(got, want)
        assert want[1].isnan().any() == math.isnan(value)  # of weight1


@pytest.mark.parametrize("kernel2", KERNEL2)
def test_a_training_step_is_the_reference_s(kernel2: int) -> None:
    x, target = torch.rand(2, 1, 33, 33), torch.rand(2, 1, 33, 33)
    models = [FusedSRCNN(kernel_sizes=(9, kernel2, 5), backend=b) for b in ("fused", "reference")]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        F.mse_loss(model(x), target).backward()
    for fused_parameter, parameter in zip(*(m.parameters() for m in models), strict=True):
        assert fused_parameter.grad is not None
        assert parameter.grad is not None
        difference = (fused_parameter.grad - parameter.grad).norm()
        assert difference <= 1e-4 * parameter.grad.norm()
