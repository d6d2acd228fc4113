"""The fused CUDA backward on a GPU: against float64 autograd, in every dtype, stream and graph."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from gradient_comparison import NAMES, assert_gradients_close, errors
from sample_inputs import LAYOUTS, Case, decisive_seed
from test_backward_fused import ALL, TABLE, WEIGHTS, expected, grad_output_of
from test_forward_cuda import KERNEL_VARIABLE, move
from torch import Tensor

from srcnn_fused import FusedSRCNN, functional, ops, reference

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("extension", "cuda")]

SIXTEEN = {torch.float16: 2**-11, torch.bfloat16: 2**-8}  # half a unit in the last place, of one

# Every network, in several strips. Larger ones have features too close to 0, see decisive_seed.
MEDIUM = [
    *(Case(kernel2, 1, "zeros", None, "matlab", (1, 9, 60)) for kernel2 in (1, 3, 5)),
    *(Case(kernel2, 3, "replicate", 2, "pil", (1, 5, 13)) for kernel2 in (1, 3, 5)),
]
SMALL = [Case(kernel2, 1, "replicate", 2, "pil", (1, 7, 9)) for kernel2 in (1, 3, 5)]


def tensors_of(case: Case, dtype: torch.dtype, layout: str) -> list[Tensor]:
    """grad_output, x, weight1, ..., bias3 on the GPU."""
    x, *parameters = case.tensors(seed=decisive_seed(case))
    images = [move(image, dtype) for image in (grad_output_of(case, layout), x)]
    return [*images, *(p.to("cuda", dtype) for p in parameters)]


def fused(
    case: Case,
    dtype: torch.dtype = torch.float32,
    wanted: tuple[bool, ...] = ALL,
    layout: str = "contiguous",
) -> list[Tensor]:
    options = (case.scale or 1, case.bicubic, case.padding_mode)
    return ops.srcnn_backward(*tensors_of(case, dtype, layout), *options, wanted)


class _Rounded(torch.autograd.Function):
    """A feature in 16 bits: rounded, and so is its gradient."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = dtype
        return feature.to(dtype).double()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.to(ctx.dtype).double(), None


@functools.cache
def rounded_gradients(case: Case, dtype: torch.dtype) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """grad_output, x, weight1, ..., bias3, and float64 gradients that are rounded where 16 bits are
    kept: the enlarged image, features and their gradients. Of the first seed whose features stay
    away from 0.
    """
    for seed in range(1, 100):
        tensors = [grad_output_of(case), *case.tensors(seed=seed)]
        sixteen = [tensor.to(dtype).double() for tensor in tensors[1:]]
        x, *parameters = (tensor.requires_grad_() for tensor in sixteen)
        y, closest = x, math.inf
        if case.scale is not None:
            y = reference.bicubic_resize(x, scale=case.scale, convention=case.bicubic)
            y = y + (y.to(dtype).double() - y).detach()
        for weight, bias in (parameters[0:2], parameters[2:4]):
            y = reference._convolve(y, weight, bias, case.padding_mode)
            closest = min(closest, y.detach().abs().min().item()) if y.numel() else closest
            y = _Rounded.apply(y.relu(), dtype)
        if closest > 3e-6:
            output = reference._convolve(y, *parameters[4:6], case.padding_mode)
            grad_output = tensors[0].to(dtype).double()
            return tensors, torch.autograd.grad(output, [x, *parameters], grad_output)
    raise ValueError(f"{case.name}: every seed has a feature next to 0")


def check(case: Case, wanted: tuple[bool, ...] = ALL, layout: str = "contiguous") -> None:
    pairs = zip(expected(case, layout), wanted, strict=True)
    exact = tuple(grad for grad, want in pairs if want)
    actual = [grad.cpu() for grad in fused(case, wanted=wanted, layout=layout)]
    for ours, theirs in zip(actual, exact, strict=True):
        error = (ours.double() - theirs).abs().max()
        assert error <= 1e-5 * max(theirs.abs().max().item(), 1e-30), f"{case.name}: {error}"


def check_subset_in_half(case: Case, wanted: tuple[bool, ...]) -> None:
    """Some of the gradients on tensor cores are those of all, but for the order of sums: where
    less is wanted, a block is laid out in another way.
    """
    everything = zip(fused(case, torch.float16), NAMES, wanted, strict=True)
    named = [(grad.cpu(), name) for grad, name, want in everything if want]
    assert_gradients_close(
        [grad.cpu() for grad in fused(case, torch.float16, wanted)],
        [grad for grad, _ in named],
        names=[name for _, name in named],
        tolerance=8 * SIXTEEN[torch.float16],
    )


@pytest.mark.parametrize("case", [*TABLE[::4], *MEDIUM], ids=lambda case: case.name)
def test_gradients_equal_float64_autograd(case: Case) -> None:
    actual = fused(case)
    assert all(grad.is_contiguous() for grad in actual)
    assert_gradients_close([grad.cpu() for grad in actual], expected(case))


def test_small_images_run_under_a_sanitizer() -> None:
    for case in SMALL:
        check(case)
        check(case, WEIGHTS)
        check_subset_in_half(case, WEIGHTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strided_images_are_read_in_place(layout: str) -> None:
    case = Case(3, 3, "zeros", None, "torch", (2, 9, 40), layout)
    check(case, layout=layout)
    # The same numbers in another order in memory are the same sums.
    strided = tensors_of(case, torch.float16, layout)
    plain = [strided[0].contiguous(), strided[1].contiguous(), *strided[2:]]
    options = (case.scale or 1, case.bicubic, case.padding_mode)
    pair = (ops.srcnn_backward(*tensors, *options, ALL) for tensors in (strided, plain))
    assert all(torch.equal(one, other) for one, other in zip(*pair, strict=True))


@pytest.mark.parametrize("wanted", range(1, 128, 9))
def test_only_what_is_wanted_comes_back(wanted: int) -> None:
    some = tuple(bool(wanted >> i & 1) for i in range(7))
    check(MEDIUM[0], some)
    check_subset_in_half(MEDIUM[0], some)


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
@pytest.mark.parametrize("case", MEDIUM, ids=lambda case: case.name)
def test_the_exact_kernel_in_sixteen_bits_is_floats_arithmetic_rounded(
    case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNEL_VARIABLE, "fma")
    options = (case.scale or 1, case.bicubic, case.padding_mode)
    tensors = tensors_of(case, dtype, "contiguous")
    actual = ops.srcnn_backward(*tensors, *options, ALL)
    exact = ops.srcnn_backward(*(tensor.float() for tensor in tensors), *options, ALL)
    for ours, theirs in zip(actual, exact, strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs.to(dtype))


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
@pytest.mark.parametrize("case", [*TABLE[::9], *MEDIUM], ids=lambda case: case.name)
def test_tensor_cores_round_where_sixteen_bits_are_kept(case: Case, dtype: torch.dtype) -> None:
    tensors, expected = rounded_gradients(case, dtype)
    images = [move(image, dtype) for image in tensors[:2]]
    options = (case.scale or 1, case.bicubic, case.padding_mode)
    actual = ops.srcnn_backward(*images, *(t.to("cuda", dtype) for t in tensors[2:]), *options, ALL)
    # A feature whose sum lies between two numbers of 16 bits may round to the other one, and a
    # feature after it, next to 0, pass its ReLU or not: that moves a few elements by more than
    # their own rounding, and the whole by little.
    for got, want, name in zip(actual, expected, NAMES, strict=True):
        worst, norm, along = errors(got.cpu(), want)
        assert worst <= 32 * SIXTEEN[dtype], f"{name}: an element is off by {worst:.1e}"
        assert max(norm, along) <= 8 * SIXTEEN[dtype], f"{name}: off by {norm:.1e}, {along:.1e}"


def test_a_kernel_that_is_forced_and_cannot_do_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNEL_VARIABLE, "mma")
    with pytest.raises(RuntimeError, match="=mma: it is not for float32"):
        fused(MEDIUM[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("case", MEDIUM, ids=lambda case: case.name)
def test_two_runs_give_the_same_bits(case: Case, dtype: torch.dtype) -> None:
    first = fused(case, dtype)
    for _ in range(3):
        torch.empty(64 << 20, device="cuda").fill_(math.nan)  # the workspace may be found anywhere
        again = fused(case, dtype)
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_an_empty_batch_has_gradients_of_zero() -> None:
    case = Case(1, 1, "zeros", 2, "matlab", (0, 4, 5))
    x, *parameters = (t.cuda() for t in case.tensors())
    grads = ops.srcnn_backward(x.new_empty(0, 1, 8, 10), x, *parameters, 2, "matlab", "zeros", ALL)
    assert grads[0].shape == x.shape
    assert not any(grad.any() for grad in grads[1:])


def test_memory_does_not_grow_with_the_image() -> None:
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), backend="fused").cuda()

    def extra(side: int) -> int:
        x = torch.rand(1, 1, side, side, device="cuda")
        out = model(x)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        out.backward(torch.ones_like(out))
        image = x.nbytes  # the incoming gradient
        return torch.cuda.max_memory_allocated() - before - image

    assert extra(2048) <= extra(512) + (1 << 20)


def test_a_training_step_in_a_cuda_graph_and_on_a_side_stream() -> None:
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), backend="fused").cuda()
    parameters = list(model.parameters())
    x = torch.rand(2, 1, 40, 50, device="cuda")

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(model(x).square().mean(), parameters)

    plain = step()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        on_side = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    graph.replay()
    torch.cuda.synchronize()
    for one, other, third in zip(plain, on_side, captured, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@functools.cache
def _losses(backend: str) -> list[float]:
    torch.manual_seed(0)
    model = FusedSRCNN(kernel_sizes=(9, 3, 5), scale=2, backend=backend).cuda()
    x = torch.rand(4, 1, 16, 16, device="cuda")
    target = functional.bicubic_resize(x, scale=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = (model(x).float() - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_in_autocast_goes_as_with_the_reference() -> None:
    assert _losses("fused")[-1] < _losses("fused")[0]
    assert _losses("fused") == pytest.approx(_losses("reference"), rel=0.05)
