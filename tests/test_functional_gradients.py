"""Derivatives of the functional interface: gradients, forward mode, torch.func."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import pytest
import torch
from sample_inputs import CONVENTIONS, LAYOUTS, PADDING_MODES, Case, decisive_seed
from torch import Tensor
from torch.autograd import forward_ad

from srcnn_fused import functional

SMALL = Case(1, 1, "zeros", None, "matlab", (1, 6, 7))


# --- gradients ------------------------------------------------------------------------------------


def assert_gradients_close(actual: list[Tensor], expected: list[Tensor]) -> None:
    """Element by element, in norm and in direction: small errors everywhere must not hide."""
    for one, exact in zip(actual, expected, strict=True):
        assert one.shape == exact.shape
        if exact.numel() == 0:
            continue
        got, norm = one.double(), exact.norm()
        assert (got - exact).norm() <= 1e-5 * norm
        assert (got - exact).abs().max() <= 1e-4 * exact.abs().max()
        assert torch.dot(got.flatten(), exact.flatten()) >= (1 - 1e-9) * got.norm() * norm


def gradients(
    case: Case, dtype: torch.dtype, backend: str, wanted: tuple[bool, ...] = (True,) * 7
) -> list[Tensor]:
    values = case.tensors(dtype, decisive_seed(case))
    tensors = [t.detach().requires_grad_(w) for t, w in zip(values, wanted, strict=True)]
    y = functional.srcnn(*tensors, **case.options, backend=backend)
    generator = torch.Generator().manual_seed(2)
    grad_output = torch.randn(y.shape, generator=generator).to(dtype)
    return list(torch.autograd.grad(y, [t for t in tensors if t.requires_grad], grad_output))


@pytest.mark.parametrize("kernel2", [1, 3, 5])
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize(
    ("scale", "bicubic"), [(None, "matlab"), *itertools.product([2, 3], CONVENTIONS)]
)
def test_every_gradient_equals_float64_autograd_of_the_reference(
    kernel2: int, padding_mode: str, scale: int | None, bicubic: str, extension: None
) -> None:
    case = Case(kernel2, 3 if scale == 2 else 1, padding_mode, scale, bicubic, (2, 7, 6))
    actual = gradients(case, torch.float32, "fused")
    assert_gradients_close(actual, gradients(case, torch.float64, "reference"))


@pytest.mark.parametrize(
    "wanted",
    [
        *(tuple(i == k for i in range(7)) for k in range(7)),
        (True, False, False, False, False, False, True),
        (False, True, True, True, True, True, True),
        (False, False, True, False, True, False, False),
    ],
    ids=lambda wanted: "".join("01"[w] for w in wanted),
)
def test_gradients_are_right_whichever_are_wanted(
    wanted: tuple[bool, ...], extension: None
) -> None:
    case = Case(3, 1, "replicate", 2, "matlab", (1, 5, 6))
    actual = gradients(case, torch.float32, "fused", wanted)
    assert_gradients_close(actual, gradients(case, torch.float64, "reference", wanted))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_do_not_depend_on_the_layout(layout: str, extension: None) -> None:
    case = Case(1, 3, "zeros", 2, "pil", (2, 5, 6), layout)
    actual = gradients(case, torch.float32, "fused")
    assert_gradients_close(actual, gradients(case, torch.float64, "reference"))


@pytest.mark.parametrize("shape", [(0, 5, 4), (1, 1, 1)], ids=str)
def test_gradients_of_no_image_and_of_one_pixel(
    shape: tuple[int, int, int], extension: None
) -> None:
    case = Case(5, 1, "replicate", 2, "matlab", shape)
    actual = gradients(case, torch.float32, "fused")
    assert_gradients_close(actual, gradients(case, torch.float64, "reference"))


def test_a_strided_or_expanded_grad_output_is_fine(extension: None) -> None:
    x, *parameters = SMALL.tensors(seed=decisive_seed(SMALL))
    for loss in (Tensor.sum, lambda y: y[..., ::2].sum(), lambda y: y.mT.square().sum()):
        grads = []
        for dtype, backend in ((torch.float32, "fused"), (torch.float64, "reference")):
            leaf = x.to(dtype).requires_grad_()
            y = functional.srcnn(leaf, *(p.to(dtype) for p in parameters), backend=backend)
            grads.append(torch.autograd.grad(loss(y), leaf)[0])
        assert_gradients_close(grads[:1], grads[1:])


def test_the_gradient_comparison_itself_notices_errors() -> None:
    exact = [torch.randn(5, 5, dtype=torch.float64)]
    assert_gradients_close([exact[0].float()], exact)
    for wrong in (exact[0] * 1.001, exact[0] + 1e-3, exact[0].roll(1), -exact[0]):
        with pytest.raises(AssertionError):
            assert_gradients_close([wrong.float()], exact)


def test_a_second_derivative_names_the_backend_that_has_one(extension: None) -> None:
    x, *parameters = SMALL.tensors()
    x.requires_grad_()
    y = functional.srcnn(x, *parameters, backend="fused")
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='no second derivative; use backend="reference"'):
        grad.sum().backward()
    y = functional.srcnn(x, *parameters, backend="reference")
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    grad.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("kwargs", [{"scale": 2.5}, {"scale": 0.4}, {"size": (3, 9)}], ids=str)
def test_bicubic_gradients_first_and_second(
    convention: str, kwargs: dict[str, object], extension: None
) -> None:
    first, second = [], []
    values = torch.rand(2, 1, 6, 5)
    for dtype, backend in ((torch.float32, "fused"), (torch.float64, "reference")):
        x = values.to(dtype).requires_grad_()
        y = functional.bicubic_resize(x, **kwargs, convention=convention, backend=backend)
        (grad,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        first.append(grad.detach())
        second.append(torch.autograd.grad(grad.square().sum(), x)[0])
    assert_gradients_close(first[:1], first[1:])
    assert_gradients_close(second[:1], second[1:])


def test_no_gradient_is_recorded_where_none_is_wanted(extension: None) -> None:
    tensors = SMALL.tensors()
    assert not functional.srcnn(*tensors).requires_grad
    with torch.inference_mode():
        assert functional.srcnn(*tensors).shape == tensors[0].shape


# --- forward mode and torch.func ------------------------------------------------------------------


def enlarged_by(backend: str) -> Callable[..., Tensor]:
    return functools.partial(functional.srcnn, scale=2, backend=backend)


def resized_by(backend: str) -> Callable[..., Tensor]:
    return lambda x, *_: functional.bicubic_resize(x, scale=1.5, backend=backend)


def dual_tangent(f: Callable[..., Tensor], x: Tensor, *parameters: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(x, x + 1), *parameters)).tangent


TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "dual": dual_tangent,
    "jvp": lambda f, x, *p: torch.func.jvp(lambda x: f(x, *p), (x,), (x + 1,))[1],
    "grad": lambda f, x, *p: torch.func.grad(lambda x: f(x, *p).square().sum())(x),
    "vmap": lambda f, x, *p: torch.func.vmap(lambda x: f(x, *p))(torch.stack((x, 2 * x))),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("make", [enlarged_by, resized_by])
def test_forward_mode_and_function_transforms_take_the_reference(
    make: Callable[[str], Callable[..., Tensor]],
    transform: str,
    extension: None,
    fresh_warnings: None,
) -> None:
    tensors = SMALL.tensors()
    apply = TRANSFORMS[transform]
    reason = "forward-mode derivative" if transform == "dual" else "forward-mode|under torch.func"
    with pytest.warns(UserWarning, match=f"running the slower .*({reason})"):
        actual = apply(make("auto"), *tensors)
    expected = apply(make("reference"), *tensors)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match=f'^backend="fused" cannot run: .*({reason})'):
        apply(make("fused"), *tensors)


def test_a_tangent_of_a_parameter_is_not_lost(extension: None, fresh_warnings: None) -> None:
    x, weight1, bias1, *others = SMALL.tensors()

    def tangent(backend: str) -> Tensor:
        with forward_ad.dual_level():
            bias = forward_ad.make_dual(bias1, torch.ones(64))
            y = functional.srcnn(x, weight1, bias, *others, backend=backend)
            return forward_ad.unpack_dual(y).tangent

    with pytest.warns(UserWarning, match="no forward-mode derivative"):
        actual = tangent("auto")
    torch.testing.assert_close(actual, tangent("reference"), rtol=0, atol=0)
