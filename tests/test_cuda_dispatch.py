"""What CUDA tensors set in motion, seen without a GPU: fake tensors on "cuda" reach the fake ops.

The build is made to look as if it had CUDA kernels. No convolution and no backward runs on such
tensors: a torch without CUDA would end the process there.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from sample_inputs import Case
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from srcnn_fused import _gpu, _op_checks, _precision, functional, ops, reference

pytestmark = pytest.mark.usefixtures("extension", "precision")

SMALL = Case(1, 1, "zeros", 2, "matlab", (1, 6, 7))
CPU_ONLY = frozenset({("srcnn_forward", "cpu"), ("bicubic_resize", "cpu")})


class Calls(TorchDispatchMode):
    """Records the arguments of this package's ops, by name and with all defaults."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.namespace == "srcnn_fused":
            names = [argument.name for argument in func._schema.arguments]
            defaults = {
                argument.name: argument.default_value for argument in func._schema.arguments
            }
            given = dict(zip(names, args, strict=False)) | (kwargs or {})
            self.calls.append((func._schema.name.split("::")[1], defaults | given))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def precision() -> Iterator[None]:
    """Leaves PyTorch's switch for convolutions as it was."""
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    yield
    torch.backends.cudnn.conv.fp32_precision = before


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """A build with CUDA kernels and no GPU to run them; gives the calls of the ops."""
    monkeypatch.setattr(ops, "KERNELS", frozenset(_op_checks.KERNEL_DTYPES))
    monkeypatch.setattr(_gpu, "why_not_served", lambda index: None)
    with FakeTensorMode(), Calls() as calls:
        yield calls


def cuda_tensors(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    shapes = ((1, 1, 6, 7), (64, 1, 9, 9), (64,), (32, 64, 1, 1), (32,), (1, 32, 5, 5), (1,))
    return [torch.empty(shape, dtype=dtype, device="cuda") for shape in shapes]


# --- TF32 -----------------------------------------------------------------------------------------

SWITCHES = [
    ("torch.backends.cudnn.conv.fp32_precision = 'tf32'", True),
    ("torch.backends.cudnn.conv.fp32_precision = 'ieee'", False),
    ("torch.backends.cudnn.allow_tf32 = True", True),
    ("torch.backends.cudnn.allow_tf32 = False", False),
    # Both interfaces in turn: reading torch.backends.cudnn.allow_tf32 raises after the second.
    (
        "torch.backends.cudnn.allow_tf32 = True; torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        False,
    ),
    (
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'; torch.backends.cudnn.allow_tf32 = True",
        True,
    ),
]


@pytest.mark.parametrize(("statements", "expected"), SWITCHES, ids=[text for text, _ in SWITCHES])
def test_tf32_is_allowed_where_pytorch_allows_it(
    statements: str, expected: bool, on_cuda: Calls
) -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        exec(statements)
        functional.srcnn(*cuda_tensors(), **SMALL.options)
        ((name, arguments),) = on_cuda.calls
        assert name == "srcnn_forward"
        assert arguments["allow_tf32"] is expected
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_tf32_means_nothing_in_16_bits(dtype: torch.dtype, on_cuda: Calls) -> None:
    functional.srcnn(*cuda_tensors(dtype), **SMALL.options)
    assert on_cuda.calls[0][1]["allow_tf32"] is False


def test_tf32_means_nothing_on_the_cpu() -> None:
    with Calls() as recorded:
        functional.srcnn(*SMALL.tensors(), **SMALL.options)
    assert recorded.calls[0][1]["allow_tf32"] is False


@pytest.mark.parametrize("allow_tf32", [False, True])
def test_the_backward_hears_what_the_forward_heard(allow_tf32: bool) -> None:
    tensors = [t.requires_grad_() for t in SMALL.tensors()]
    with Calls() as recorded:
        out = ops.srcnn_forward(*tensors, 2, "matlab", "zeros", allow_tf32)
        grads = torch.autograd.grad(out.sum(), tensors)
    assert [(name, a["allow_tf32"]) for name, a in recorded.calls] == [
        ("srcnn_forward", allow_tf32),
        ("srcnn_backward", allow_tf32),
    ]
    expected = torch.autograd.grad(functional.srcnn(*tensors, scale=2).sum(), tensors)
    assert all(torch.equal(one, other) for one, other in zip(grads, expected, strict=True))


@pytest.mark.parametrize("before", ["tf32", "ieee"])
@pytest.mark.parametrize("allow_tf32", [False, True])
def test_the_reference_backward_obeys_and_puts_the_switch_back(
    before: str, allow_tf32: bool
) -> None:
    torch.backends.cudnn.conv.fp32_precision = before
    with FakeTensorMode():
        x = torch.empty(1, device="cuda")
        with _precision.convolutions_for(x, allow_tf32=allow_tf32):
            assert _precision.convolutions_allow_tf32() is allow_tf32
        with _precision.convolutions_for(x.half(), allow_tf32=allow_tf32):
            assert torch.backends.cudnn.conv.fp32_precision == before
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_a_compiled_graph_keeps_the_switch_it_was_made_with() -> None:
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="eager")
    def which(x: Tensor) -> Tensor:
        return x + 1 if _precision.convolutions_allow_tf32() else x

    x = torch.zeros(1)
    assert which(x).item() == 1
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    assert which(x).item() == 1
    torch._dynamo.reset()
    assert which(x).item() == 0


# --- autocast -------------------------------------------------------------------------------------


@contextmanager
def autocast(dtype: torch.dtype) -> Iterator[None]:
    """torch.autocast("cuda", dtype), which switches itself off where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="CUDA is not available")
            yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("given", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_autocast_on_cuda_casts_as_conv2d_does(
    given: torch.dtype, dtype: torch.dtype, on_cuda: Calls
) -> None:
    with autocast(dtype):
        out = functional.srcnn(*cuda_tensors(given), **SMALL.options, backend="fused")
    assert out.dtype == dtype
    ((_, arguments),) = on_cuda.calls
    assert {a.dtype for a in arguments.values() if isinstance(a, Tensor)} == {dtype}


def test_the_op_itself_follows_autocast_on_cuda(on_cuda: Calls) -> None:
    with autocast(torch.bfloat16):
        out = ops.srcnn_forward(*cuda_tensors(), 2, "matlab", "zeros")
    assert out.dtype == torch.bfloat16
    assert torch.float32 not in {
        a.dtype for a in on_cuda.calls[0][1].values() if isinstance(a, Tensor)
    }


def test_autocast_on_cuda_leaves_float64_alone(
    on_cuda: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(reference, "srcnn", lambda x, *_, **__: seen.append(x.dtype) or x)
    with autocast(torch.float16):
        functional.srcnn(*cuda_tensors(torch.float64), **SMALL.options, backend="reference")
    assert seen == [torch.float64]


def test_autocast_hands_the_casts_to_the_reference_too(
    on_cuda: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(reference, "srcnn", lambda *a, **__: seen.append({t.dtype for t in a}))
    with autocast(torch.bfloat16):
        functional.srcnn(*cuda_tensors(), **SMALL.options, backend="reference")
    assert seen == [{torch.bfloat16}]


def test_gradients_come_back_in_the_dtypes_that_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    # The same casts on the CPU, where a backward can run.
    monkeypatch.setattr(functional, "autocast_dtype", lambda *_: torch.bfloat16)
    tensors = [t.requires_grad_() for t in SMALL.tensors()]
    with torch.autocast("cpu", torch.bfloat16):
        out = functional.srcnn(*tensors, **SMALL.options, backend="reference")
    assert out.dtype == torch.bfloat16
    grads = torch.autograd.grad(out.float().sum(), tensors)
    assert {grad.dtype for grad in grads} == {torch.float32}


# --- builds and GPUs that do not fit --------------------------------------------------------------

NO_KERNELS = (
    "this build has no CUDA kernels; reinstall with SRCNN_FUSED_CUDA=1, and CUDA_HOME naming a "
    "CUDA toolkit where nvcc is not on PATH"
)
NOT_THIS_GPU = (
    "this build has CUDA kernels for 7.5;9.0a and none for this GPU, which is sm_89; reinstall "
    "with TORCH_CUDA_ARCH_LIST=8.9"
)


@pytest.fixture(params=[NO_KERNELS, NOT_THIS_GPU], ids=["no kernels", "not this GPU"])
def unfit(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fresh_warnings: None
) -> Iterator[str]:
    """A build that cannot serve CUDA tensors, and its reason."""
    if request.param == NO_KERNELS:
        monkeypatch.setattr(ops, "KERNELS", CPU_ONLY)
    else:
        monkeypatch.setattr(ops, "KERNELS", frozenset(_op_checks.KERNEL_DTYPES))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(_gpu, "_capability", lambda index: (8, 9))
        monkeypatch.setattr(_gpu, "built_architectures", lambda: "7.5;9.0a")
    with FakeTensorMode():
        yield request.param


def test_auto_takes_the_reference_and_says_so_once(
    unfit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "srcnn", lambda x, *_, **__: x)
    tensors = cuda_tensors()
    with pytest.warns(UserWarning, match=re.escape(unfit)):
        assert functional.srcnn(*tensors) is tensors[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functional.srcnn(*tensors)


def test_fused_raises_the_reason(unfit: str) -> None:
    message = re.escape(f'backend="fused" cannot run: {unfit}')
    x, *parameters = cuda_tensors()
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        functional.srcnn(x, *parameters, backend="fused")
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        functional.bicubic_resize(x, scale=2, backend="fused")


# --- bicubic_resize -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_bicubic_has_a_kernel_for_every_width(dtype: torch.dtype, on_cuda: Calls) -> None:
    x = torch.empty(3, 8, 9, dtype=dtype, device="cuda")
    out = functional.bicubic_resize(x, scale=2, backend="fused")
    assert (out.shape, out.dtype, out.device.type) == ((3, 16, 18), dtype, "cuda")
    assert [name for name, _ in on_cuda.calls] == ["bicubic_resize"]


# --- graphs ---------------------------------------------------------------------------------------


class AsksAboutCuda(torch.nn.Module):
    """What functional.srcnn asks about a float32 CUDA tensor; a graph on one needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        served = _gpu.why_not_served(x.device.index) is None
        return x + (1 if served else 2) + (10 if _precision.convolutions_allow_tf32() else 20)


@pytest.mark.parametrize("allow_tf32", [True, False])
def test_the_questions_can_be_compiled_and_exported(
    allow_tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    # torch.export itself reads this one, and raises where the other interface was used.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
    model, x = AsksAboutCuda(), torch.zeros(2)
    expected = model(x)
    assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(x), expected)
    for strict in (False, True):
        assert torch.equal(torch.export.export(model, (x,), strict=strict).module()(x), expected)
