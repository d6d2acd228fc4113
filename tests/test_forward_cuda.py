"""The fused CUDA forward on a GPU: against float64, in every dtype, in graphs and streams."""

from __future__ import annotations

import pytest
import torch
from sample_inputs import CASES, Case

from srcnn_fused import FusedSRCNN, functional, reference

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("extension", "cuda")]

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}
SMALL = Case(1, 1, "zeros", 2, "matlab", (2, 11, 37))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_srcnn_equals_the_float64_reference(case: Case, dtype: torch.dtype) -> None:
    tensors = case.tensors(dtype)
    with torch.no_grad():
        expected = reference.srcnn(*(t.double() for t in tensors), **case.options)
        actual = functional.srcnn(*(t.cuda() for t in tensors), **case.options, backend="fused")
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_small_images_run_under_a_sanitizer(dtype: torch.dtype) -> None:
    for kernel2 in (1, 3, 5):
        case = Case(kernel2, 1, "replicate", 2, "pil", (1, 9, 14))
        tensors = case.tensors(dtype)
        with torch.no_grad():
            expected = reference.srcnn(*(t.double() for t in tensors), **case.options)
            actual = functional.srcnn(*(t.cuda() for t in tensors), **case.options)
        torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=TOLERANCE[dtype])


def test_a_captured_graph_computes_the_same() -> None:
    tensors = [t.cuda() for t in SMALL.tensors()]
    with torch.no_grad():
        expected = functional.srcnn(*tensors, **SMALL.options, backend="fused")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            actual = functional.srcnn(*tensors, **SMALL.options, backend="fused")
        actual.zero_()
        graph.replay()
    assert torch.equal(actual, expected)


def test_the_current_stream_is_used() -> None:
    tensors = [t.cuda() for t in SMALL.tensors()]
    with torch.no_grad():
        expected = functional.srcnn(*tensors, **SMALL.options, backend="fused")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            tensors[0].mul_(1)  # a kernel that the op must wait for
            actual = functional.srcnn(*tensors, **SMALL.options, backend="fused")
        stream.synchronize()
    assert torch.equal(actual, expected)


def test_a_module_moved_to_the_gpu_needs_no_change_and_learns() -> None:
    torch.manual_seed(0)
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2, backend="auto").cuda()
    x, target = torch.rand(2, 1, 8, 8).cuda(), torch.rand(2, 1, 16, 16).cuda()
    loss = (model(x) - target).square().mean()
    loss.backward()
    on_cpu = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2)
    on_cpu.load_state_dict(model.state_dict())
    (on_cpu(x.cpu()) - target.cpu()).square().mean().backward()
    for ours, theirs in zip(model.parameters(), on_cpu.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-3, atol=1e-5)
