"""The fused CUDA forward on a GPU: against float64, in every dtype, layout, stream and graph."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator

import pytest
import torch
from sample_inputs import CASES, LAYOUTS, PADDING_MODES, Case, network
from torch import Tensor

from srcnn_fused import FusedSRCNN, functional, reference

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("extension", "cuda")]

DEVICE = "cuda"
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}
TF32_TOLERANCE = 2e-3
DTYPES = tuple(TOLERANCE)

# Read by the op at every call; unset or "auto": its own choice.
KERNEL_VARIABLE = "SRCNN_FUSED_CUDA_KERNEL"
KERNELS = {
    torch.float32: ("fma", "tf32x3", "tf32"),
    torch.float16: ("fma", "mma", "wgmma"),
    torch.bfloat16: ("fma", "mma", "wgmma"),
}

# Every network, in one shape that has several strips of every kernel, and rows enough for segments.
MEDIUM = [Case(kernel2, 1, "zeros", 2, "matlab", (2, 37, 151)) for kernel2 in (1, 3, 5)]


@pytest.fixture(autouse=True)
def exact_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TF32, which PyTorch allows its convolutions unless told otherwise."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.delenv(KERNEL_VARIABLE, raising=False)


def move(x: Tensor, dtype: torch.dtype, device: str = DEVICE) -> Tensor:
    """x on the device, in the dtype, with its own strides and what lies between its values."""
    elements = x.untyped_storage().nbytes() // x.element_size()
    buffer = x.as_strided((elements,), (1,), 0).to(device, dtype)
    return buffer.as_strided(x.shape, x.stride(), x.storage_offset())


def tensors_of(case: Case, dtype: torch.dtype, device: str = DEVICE) -> list[Tensor]:
    """x, weight1, ..., bias3 on the device."""
    x, *parameters = case.tensors()
    return [move(x, dtype, device), *(p.to(device, dtype) for p in parameters)]


def fused(case: Case, tensors: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return functional.srcnn(*tensors, **case.options, backend="fused")


def exact(case: Case, tensors: list[Tensor]) -> Tensor:
    """The float64 reference of the tensors as they are, on the CPU."""
    with torch.no_grad():
        return reference.srcnn(*(t.cpu().double() for t in tensors), **case.options)


@functools.lru_cache(maxsize=32)
def expected_of(case: Case, dtype: torch.dtype) -> Tensor:
    """exact of the case's tensors, rounded to the dtype."""
    return exact(case, [t.to(dtype) for t in case.tensors()])


def check(case: Case, dtype: torch.dtype, tolerance: float | None = None) -> None:
    tensors = tensors_of(case, dtype)
    actual = fused(case, tensors)
    assert actual.dtype == dtype
    assert actual.is_contiguous()
    allowed = TOLERANCE[dtype] if tolerance is None else tolerance
    expected = expected_of(case, dtype)
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=allowed)


def check_kernel(
    case: Case, dtype: torch.dtype, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check with one kernel; skips where it is not for this GPU or this problem.

    A Hopper that is to be tested (SRCNN_FUSED_REQUIRE_CUDA=1) must have the kernels made for it.
    """
    monkeypatch.setenv(KERNEL_VARIABLE, kernel)
    try:
        check(case, dtype, TF32_TOLERANCE if kernel == "tf32" else None)
    except RuntimeError as error:
        if KERNEL_VARIABLE not in str(error):
            raise
        hopper = torch.cuda.get_device_capability() == (9, 0)
        expected = kernel == "wgmma" and hopper and case.kernel2 > 1
        required = expected and os.environ.get("SRCNN_FUSED_REQUIRE_CUDA") == "1"
        (pytest.fail if required else pytest.skip)(str(error))


# --- Numbers --------------------------------------------------------------------------------------

# All cases in float32; the 16-bit types, which share their kernels, take turns.
TABLE = [
    *((case, torch.float32) for case in CASES),
    *zip(CASES, itertools.cycle((torch.float16, torch.bfloat16)), strict=False),
]


@pytest.mark.parametrize(
    ("case", "dtype"), TABLE, ids=[f"{case.name}-{dtype}" for case, dtype in TABLE]
)
def test_srcnn_equals_the_float64_reference(case: Case, dtype: torch.dtype) -> None:
    check(case, dtype)


# The op's own choice for each dtype, and the kernels that it leaves aside.
SMALL_RUNS = [
    *((dtype, "auto") for dtype in DTYPES),
    *((torch.float32, kernel) for kernel in ("tf32", "tf32x3")),
    *((torch.float16, kernel) for kernel in ("mma", "wgmma")),
]


@pytest.mark.parametrize(("dtype", "kernel"), SMALL_RUNS, ids=str)
def test_small_images_run_under_a_sanitizer(
    dtype: torch.dtype, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel2 in (1, 3, 5):
        case = Case(kernel2, 1, "replicate", 2, "pil", (1, 9, 14))
        check_kernel(case, dtype, kernel, monkeypatch)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strided_images_are_read_in_place(layout: str, dtype: torch.dtype) -> None:
    for channels, scale in ((1, None), (3, None), (3, 2)):
        case = Case(3, channels, "zeros", scale, "torch", (2, 13, 70), layout)
        assert tensors_of(case, dtype)[0].stride() == case.tensors()[0].stride()
        check(case, dtype)


@pytest.mark.parametrize(
    ("dtype", "kernel"), [(d, k) for d, names in KERNELS.items() for k in names], ids=str
)
@pytest.mark.parametrize("case", [*MEDIUM, *CASES[::29]], ids=lambda case: case.name)
def test_each_kernel_equals_the_float64_reference(
    case: Case, dtype: torch.dtype, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kernel(case, dtype, kernel, monkeypatch)


@pytest.mark.parametrize("case", MEDIUM, ids=lambda case: case.name)
def test_tf32_is_taken_only_where_convolutions_may(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(case, torch.float32)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    check(case, torch.float32, TF32_TOLERANCE)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    check(case, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_nan_and_inf_reach_what_they_reach_in_the_reference(
    padding_mode: str, value: float, dtype: torch.dtype
) -> None:
    for kernel2, scale in ((1, None), (3, 3), (5, None)):
        case = Case(kernel2, 1, padding_mode, scale, "matlab", (1, 60, 75))
        tensors = tensors_of(case, dtype)
        tensors[0][0, 0, 0, 0] = tensors[0][0, 0, 33, 31] = value
        actual, expected = fused(case, tensors).cpu().double(), exact(case, tensors)
        finite = expected.isfinite()
        assert finite.any()
        assert not finite.all()
        assert not actual[~finite].isfinite().any(), "a bad pixel went unseen"
        assert actual[finite].isfinite().all(), "a bad pixel went further than in the reference"
        torch.testing.assert_close(actual[finite], expected[finite], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_the_fma_kernel_gives_nan_where_the_reference_does_and_inf_where_it_does(
    padding_mode: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNEL_VARIABLE, "fma")
    for kernel2, scale in ((1, None), (3, 3)):
        case = Case(kernel2, 1, padding_mode, scale, "matlab", (1, 24, 27))
        tensors = tensors_of(case, torch.float32)
        tensors[0][0, 0, 0, 0] = tensors[0][0, 0, 20, 13] = value
        actual, expected = fused(case, tensors).cpu().double(), exact(case, tensors)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", MEDIUM, ids=lambda case: case.name)
def test_two_runs_are_equal_to_the_bit(case: Case, dtype: torch.dtype) -> None:
    tensors = tensors_of(case, dtype)
    first = fused(case, tensors)
    for _ in range(5):
        assert torch.equal(fused(case, tensors), first)


# --- Sizes and memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_empty_batch_gives_an_empty_batch(dtype: torch.dtype) -> None:
    tensors = tensors_of(Case(1, 3, "zeros", 2, "matlab", (0, 5, 7)), dtype)
    actual = fused(Case(1, 3, "zeros", 2, "matlab", (0, 5, 7)), tensors)
    assert actual.shape == (0, 3, 10, 14)
    assert (actual.dtype, actual.device) == (dtype, tensors[0].device)


def check_corners(x: Tensor, parameters: list[Tensor], output: Tensor, atol: float) -> None:
    """The corners and the middle of an image without enlargement; too large to check whole."""
    _, _, height, width = x.shape
    side, margin = 48, 16
    starts = [(0, (length - side) // 2, length - side) for length in (height, width)]
    for top, left in itertools.product(*starts):
        rows = slice(max(0, top - margin), min(height, top + side + margin))
        columns = slice(max(0, left - margin), min(width, left + side + margin))
        crop = reference.srcnn(
            x[:, :, rows, columns].cpu().double(), *(p.cpu().double() for p in parameters)
        )
        y, z = top - rows.start, left - columns.start
        expected = crop[:, :, y : y + side, z : z + side]
        actual = output[:, :, top : top + side, left : left + side].cpu().double()
        torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def check_many_elements(batch: int, side: int) -> None:
    """Checks the first and last images of a batch; in float16, for the sake of memory."""
    dtype = torch.float16
    x = torch.empty(batch, 1, side, side, dtype=dtype, device=DEVICE)
    for image in x:
        image.uniform_()
    parameters = [p.to(DEVICE, dtype) for p in network(1, (9, 1, 5))]
    with torch.no_grad():
        output = functional.srcnn(x, *parameters, backend="fused")
        for n in (0, batch // 2, batch - 2, batch - 1):
            check_corners(x[n : n + 1], parameters, output[n : n + 1], TOLERANCE[dtype])


def test_a_batch_may_have_more_than_2_to_the_31_elements() -> None:
    batch, side = 33, 8192
    assert batch * side**2 > 2**31
    needed = 2 * 2 * batch * side**2 + 2**30
    if torch.cuda.mem_get_info()[0] < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of free GPU memory")
    try:
        check_many_elements(batch, side)
    finally:
        torch.cuda.empty_cache()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel2", [1, 3, 5])
def test_a_forward_takes_less_than_a_megabyte_besides_its_output(
    kernel2: int, dtype: torch.dtype
) -> None:
    case = Case(kernel2, 1, "zeros", 3, "matlab", (2, 180, 320))
    tensors = tensors_of(case, dtype)
    fused(case, tensors)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    output = fused(case, tensors)
    torch.cuda.synchronize()
    extra = torch.cuda.max_memory_allocated() - before - output.nbytes
    assert extra < 1 << 20, f"{extra} bytes"


# --- Streams, graphs, devices, the compiler -------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", MEDIUM, ids=lambda case: case.name)
def test_a_captured_graph_computes_the_same(case: Case, dtype: torch.dtype) -> None:
    tensors = tensors_of(case, dtype)
    fused(case, tensors)  # the kernel's module is loaded before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = fused(case, tensors)
    for seed in (2, 3):  # the graph reads what its input holds when it is replayed
        tensors[0].copy_(case.tensors(seed=seed)[0])
        actual.fill_(math.nan)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(actual, fused(case, tensors))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_current_stream_is_used(dtype: torch.dtype) -> None:
    case = MEDIUM[1]
    tensors = tensors_of(case, dtype)
    expected = fused(case, tensors)
    original = tensors[0].clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        tensors[0].fill_(math.nan)
        torch.cuda._sleep(20_000_000)  # some 10 ms, which another stream would not wait for
        tensors[0].copy_(original)
        actual = fused(case, tensors)
    stream.synchronize()
    assert torch.equal(actual, expected)


def test_streams_at_work_at_once_do_not_disturb_each_other() -> None:
    work = []
    for case, dtype in itertools.product(MEDIUM, DTYPES):
        tensors = tensors_of(case, dtype)
        work.append((case, tensors, fused(case, tensors), torch.cuda.Stream()))
    torch.cuda.synchronize()
    outputs = []
    for _ in range(4):
        for case, tensors, _, stream in work:
            with torch.cuda.stream(stream):
                outputs.append(fused(case, tensors))
    torch.cuda.synchronize()
    for actual, (_, _, expected, _) in zip(outputs, work * 4, strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_each_device_works_whichever_is_current(dtype: torch.dtype) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    case = MEDIUM[0]
    expected = exact(case, tensors_of(case, dtype))
    for device, current in itertools.product(range(torch.cuda.device_count()), range(2)):
        with torch.cuda.device(current):
            tensors = tensors_of(case, dtype, f"cuda:{device}")
            actual = fused(case, tensors)
            assert torch.cuda.current_device() == current
        assert actual.device.index == device
        torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=TOLERANCE[dtype])


def test_weights_on_another_device_are_refused() -> None:
    x, *parameters = tensors_of(MEDIUM[0], torch.float32)
    with pytest.raises((ValueError, RuntimeError), match="device"):
        functional.srcnn(x, *(p.cpu() for p in parameters), backend="fused")


@pytest.fixture
def compiled() -> Iterator[Callable[[FusedSRCNN], Callable[[Tensor], Tensor]]]:
    """torch.compile with no part left out; forgets everything before and after."""
    torch._dynamo.reset()
    yield lambda model: torch.compile(model, fullgraph=True)
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_torch_compile_takes_it_whole(
    compiled: Callable[[FusedSRCNN], Callable[[Tensor], Tensor]], dtype: torch.dtype
) -> None:
    model = FusedSRCNN(kernel_sizes=(9, 3, 5), scale=2, backend="fused").to(DEVICE, dtype)
    x = torch.rand(2, 1, 31, 45).to(DEVICE, dtype)
    with torch.no_grad():
        assert torch.equal(compiled(model)(x), model(x))


def test_a_module_moved_to_the_gpu_needs_no_change_and_learns() -> None:
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2, backend="auto").to(DEVICE)
    x, target = torch.rand(2, 1, 8, 8).to(DEVICE), torch.rand(2, 1, 16, 16).to(DEVICE)
    loss = (model(x) - target).square().mean()
    loss.backward()
    on_cpu = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2)
    on_cpu.load_state_dict(model.state_dict())
    (on_cpu(x.cpu()) - target.cpu()).square().mean().backward()
    for ours, theirs in zip(model.parameters(), on_cpu.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-3, atol=1e-5)
