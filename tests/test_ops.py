"""The ops as torch sees them: opcheck, argument checks real and fake, compile, export."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sample_inputs import Case, image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import srcnn_fused.ops  # noqa: F401  registers the ops
from srcnn_fused import FusedSRCNN, _extension, functional

pytestmark = pytest.mark.usefixtures("extension")

SMALL = Case(1, 1, "zeros", 2, "matlab", (1, 6, 7))


def op(name: str) -> torch._ops.OpOverload:
    return getattr(torch.ops.srcnn_fused, name).default


# --- opcheck --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        SMALL,
        Case(3, 3, "replicate", 1, "pil", (2, 5, 4), "channels_last"),
        Case(5, 1, "zeros", 3, "torch", (1, 3, 8), "slice"),
    ],
    ids=lambda case: case.name,
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck_srcnn_forward(case: Case, requires_grad: bool) -> None:
    tensors = [t.detach().requires_grad_(requires_grad) for t in case.tensors()]
    options = (case.scale, case.bicubic, case.padding_mode)
    torch.library.opcheck(op("srcnn_forward"), (*tensors, *options), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wanted", [[True] * 7, [False, True] * 3 + [False], [False] * 7])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_opcheck_srcnn_backward(wanted: list[bool], layout: str) -> None:
    case = Case(3, 3, "replicate", 2, "pil", (2, 5, 4), layout)
    grad_output = image((2, 3, 10, 8), layout)
    options = (case.scale, case.bicubic, case.padding_mode)
    arguments = (grad_output, *case.tensors(), *options, wanted)
    torch.library.opcheck(op("srcnn_backward"), arguments, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "slice"])
@pytest.mark.parametrize("convention", ["matlab", "pil", "torch"])
def test_opcheck_bicubic(convention: str, layout: str) -> None:
    x = image((2, 3, 6, 7), layout).requires_grad_()
    torch.library.opcheck(op("bicubic_resize"), (x, 9, 3, 1.5, 0.4, convention))
    grad_output = image((2, 3, 9, 3), layout).requires_grad_()
    arguments = (grad_output, 6, 7, 1.5, 0.4, convention)
    torch.library.opcheck(op("bicubic_resize_backward"), arguments)
    torch.library.opcheck(op("bicubic_resize"), (x, 6, 7, 1.0, 1.0, convention))
    torch.library.opcheck(op("bicubic_resize_backward"), (grad_output, 9, 3, 1.0, 1.0, convention))


# --- argument checks: fake kernels say what the real ones say -------------------------------------


def srcnn_arguments(**changes: object) -> list[object]:
    names = ("x", "weight1", "bias1", "weight2", "bias2", "weight3", "bias3")
    arguments: dict[str, object] = dict(zip(names, SMALL.tensors(), strict=True))
    arguments |= {"scale": 2, "bicubic": "matlab", "padding_mode": "zeros"}
    return list((arguments | changes).values())


def resize_arguments(**changes: object) -> list[object]:
    arguments: dict[str, object] = {"x": torch.rand(1, 1, 6, 7), "out_height": 9, "out_width": 3}
    arguments |= {"scale_height": 1.5, "scale_width": 0.4, "convention": "pil"}
    return list((arguments | changes).values())


BAD_SRCNN: list[tuple[dict[str, object], str]] = [
    ({"x": torch.rand(3, 8, 8)}, "x must be [N, C, H, W] with H and W at least 1, got [3, 8, 8]"),
    (
        {"x": torch.rand(1, 1, 0, 8)},
        "x must be [N, C, H, W] with H and W at least 1, got [1, 1, 0, 8]",
    ),
    ({"x": torch.rand(1, 1, 4, 4).double()}, "x must be float32, got float64"),
    ({"x": torch.rand(1, 2, 4, 4)}, "x must have 1 or 3 channels, got [1, 2, 4, 4]"),
    ({"x": torch.rand(1, 3, 4, 4)}, "weight1 must be [64, 3, 9, 9], got [64, 1, 9, 9]"),
    ({"bias2": torch.rand(32).half()}, "bias2 must be float32, got float16"),
    ({"weight1": torch.rand(64, 81)}, "weight1 must be [64, 1, 9, 9], got [64, 81]"),
    ({"bias1": torch.rand(63)}, "bias1 must be [64], got [63]"),
    (
        {"weight2": torch.rand(32, 64, 2, 2)},
        "weight2 must be [32, 64, k, k] with k = 1, 3 or 5, got [32, 64, 2, 2]",
    ),
    (
        {"weight2": torch.rand(32, 64, 3, 5)},
        "weight2 must be [32, 64, 5, 5], got [32, 64, 3, 5]",
    ),
    ({"bias2": torch.rand(31)}, "bias2 must be [32], got [31]"),
    ({"weight3": torch.rand(3, 32, 5, 5)}, "weight3 must be [1, 32, 5, 5], got [3, 32, 5, 5]"),
    ({"bias3": torch.rand(1, 1)}, "bias3 must be [1], got [1, 1]"),
    ({"scale": 0}, "scale must be at least 1, got 0"),
    (
        {"scale": 2**30},
        "scale must keep the sides below 2^31, got 1073741824 for x of [1, 1, 6, 7]",
    ),
    ({"bicubic": "cubic"}, "bicubic must be 'matlab', 'pil' or 'torch', got 'cubic'"),
    ({"padding_mode": "same"}, "padding_mode must be 'zeros' or 'replicate', got 'same'"),
]
BAD_RESIZE: list[tuple[dict[str, object], str]] = [
    ({"x": torch.rand(6, 7)}, "x must be [N, C, H, W] with H and W at least 1, got [6, 7]"),
    ({"x": torch.rand(1, 1, 6, 7).half()}, "x must be float32, got float16"),
    *(
        (
            {"x": torch.zeros(1, 1, 6, 7, dtype=dtype)},
            f"x must be float32, got {str(dtype).removeprefix('torch.')}",
        )
        for dtype in (torch.uint8, torch.int64, torch.bool, torch.bfloat16, torch.complex64)
    ),
    ({"out_width": 0}, "size must be at least 1 and below 2^31, got (9, 0)"),
    ({"out_height": 2**31}, "size must be at least 1 and below 2^31, got (2147483648, 3)"),
    *(
        (
            {"scale_width": scale},
            "scale must be from 1e-06 to 1e+09, and at least 0.001 / length, "
            f"got (1.5, {scale:g}) for 6 x 7 pixels",
        )
        for scale in (0.0, -1.0, math.nan, math.inf, 1e300, 1e-10, 1e-7, 1e-4)
    ),
    ({"convention": "bicubic"}, "convention must be 'matlab', 'pil' or 'torch', got 'bicubic'"),
]


def assert_real_and_fake_refuse(name: str, arguments: list[object], message: str) -> None:
    line = f"^{re.escape(message)}$"
    with pytest.raises(RuntimeError, match=line):
        op(name)(*arguments)
    with FakeTensorMode() as mode:
        fake = [mode.from_tensor(a) if isinstance(a, Tensor) else a for a in arguments]
        with pytest.raises(RuntimeError, match=line):
            op(name)(*fake)


@pytest.mark.parametrize(("changes", "message"), BAD_SRCNN, ids=[m for _, m in BAD_SRCNN])
def test_srcnn_forward_refuses(changes: dict[str, object], message: str) -> None:
    assert_real_and_fake_refuse("srcnn_forward", srcnn_arguments(**changes), message)


@pytest.mark.parametrize(("changes", "message"), BAD_SRCNN, ids=[m for _, m in BAD_SRCNN])
def test_srcnn_backward_refuses(changes: dict[str, object], message: str) -> None:
    arguments = [torch.rand(1, 1, 12, 14), *srcnn_arguments(**changes), [True] * 7]
    assert_real_and_fake_refuse("srcnn_backward", arguments, message)


@pytest.mark.parametrize(
    ("grad_output", "wanted", "message"),
    [
        (
            torch.rand(1, 1, 6, 7),
            [True] * 7,
            "grad_output must be [1, 1, 12, 14], got [1, 1, 6, 7]",
        ),
        (torch.rand(1, 1, 12, 14).double(), [True] * 7, "grad_output must be float32, got float64"),
        (torch.rand(1, 1, 12, 14), [True] * 6, "output_mask must have 7 entries, got 6"),
    ],
    ids=["shape", "dtype", "mask"],
)
def test_srcnn_backward_refuses_its_own(
    grad_output: Tensor, wanted: list[bool], message: str
) -> None:
    arguments = [grad_output, *srcnn_arguments(), wanted]
    assert_real_and_fake_refuse("srcnn_backward", arguments, message)


@pytest.mark.parametrize(("changes", "message"), BAD_RESIZE, ids=[m for _, m in BAD_RESIZE])
def test_bicubic_refuses(changes: dict[str, object], message: str) -> None:
    assert_real_and_fake_refuse("bicubic_resize", resize_arguments(**changes), message)
    message = message.replace("x must", "grad_output must").replace("6 x 7", "9 x 3")
    arguments = resize_arguments(**changes)
    assert_real_and_fake_refuse("bicubic_resize_backward", arguments, message)


def test_an_output_that_no_memory_holds_is_refused_in_one_line() -> None:
    shape = "[4, 4, 2000000000, 2000000000]"
    arguments = [torch.rand(4, 4, 8, 8), 2 * 10**9, 2 * 10**9, 2.0, 2.0, "pil"]
    message = f"not enough memory for an output of {shape}"
    assert_real_and_fake_refuse("bicubic_resize", arguments, message)
    with pytest.raises(
        RuntimeError, match=r"^not enough memory for an output of \[1, 1, 10{9}, 10"
    ):
        functional.bicubic_resize(torch.rand(1, 1, 8, 8), size=(10**9, 10**9))


def test_the_binary_holds_no_path_of_the_machine_that_built_it() -> None:
    binary = Path(_extension.module().__file__).read_bytes()
    assert b"csrc/stable" in binary  # headers that name themselves are in it
    for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]):
        assert bytes(folder.resolve()) not in binary


# --- compile and export ---------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_without_graph_breaks_it_gives_the_same(dynamic: bool, backend: str) -> None:
    torch._dynamo.reset()
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2, backend=backend)
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for shape in ((2, 1, 7, 9), (1, 1, 11, 6)):
        x = torch.rand(shape, requires_grad=True)
        y, expected = compiled(x), model(x)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
        inputs = (x, *model.parameters())
        actual = torch.autograd.grad(y.square().sum(), inputs)
        for one, other in zip(
            actual, torch.autograd.grad(expected.square().sum(), inputs), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_inductor_gives_the_same() -> None:
    torch._dynamo.reset()
    model = FusedSRCNN(kernel_sizes=(9, 3, 5), scale=3)
    x = torch.rand(1, 1, 8, 9)

    def enhance(x: Tensor) -> Tensor:
        return (model(x * 2 - 0.5) + 0.1).clamp(0, 1)

    with torch.no_grad():
        actual = torch.compile(enhance, fullgraph=True)(x)
        torch.testing.assert_close(actual, enhance(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{"scale": 1.5}, {"scale": 2}, {"size": (5, 8)}], ids=str)
def test_compiled_bicubic_gives_the_same(options: dict[str, object]) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: functional.bicubic_resize(x, **options, backend="fused"),
        fullgraph=True,
        dynamic=True,
        backend="aot_eager",
    )
    for shape in ((6, 7), (9, 4)):
        x = torch.rand(shape)
        assert torch.equal(compiled(x), functional.bicubic_resize(x, **options))


@pytest.mark.parametrize("strict", [False, True])
def test_export_keeps_sizes_free_and_gives_the_same(strict: bool) -> None:
    model = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2).eval()
    dim = torch.export.Dim
    program = torch.export.export(
        model,
        (torch.rand(2, 1, 7, 9),),
        dynamic_shapes=({0: dim("n"), 2: dim("h"), 3: dim("w")},),
        strict=strict,
    )
    assert "srcnn_fused.srcnn_forward" in str(program.graph)
    exported: Callable[[Tensor], Tensor] = program.module()
    for shape in ((2, 1, 7, 9), (3, 1, 30, 4)):
        x = torch.rand(shape)
        assert torch.equal(exported(x), model(x))
