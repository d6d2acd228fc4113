"""The functional interface: choice of the backend, argument errors by their message."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from sample_inputs import CONVENTIONS, Case, image, network
from torch import Tensor

from srcnn_fused import FusedSRCNN, _extension, functional, reference

SMALL = Case(1, 1, "zeros", None, "matlab", (1, 6, 7))


def test_importing_the_package_does_not_import_the_compiler() -> None:
    # Where torch itself does, there is nothing to save.
    code = """if True:
        import sys, torch
        before = "torch._dynamo" in sys.modules
        import srcnn_fused.functional
        print(before or "torch._dynamo" not in sys.modules)
    """
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert found.stdout.strip() == "True"


# --- backend --------------------------------------------------------------------------------------


def test_auto_takes_the_fused_kernel_and_says_nothing(extension: None) -> None:
    tensors = SMALL.tensors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auto = functional.srcnn(*tensors)
        resized = functional.bicubic_resize(tensors[0], scale=2)
    assert torch.equal(auto, functional.srcnn(*tensors, backend="fused"))
    assert torch.equal(resized, functional.bicubic_resize(tensors[0], scale=2, backend="fused"))


def test_reference_takes_the_reference() -> None:
    tensors = SMALL.tensors()
    assert torch.equal(
        functional.srcnn(*tensors, scale=2, backend="reference"),
        reference.srcnn(*tensors, scale=2),
    )
    assert torch.equal(
        functional.bicubic_resize(tensors[0], scale=2, backend="reference"),
        reference.bicubic_resize(tensors[0], scale=2),
    )


UNFUSED: dict[str, tuple[Callable[[], list[Tensor]], str]] = {
    "float64": (
        lambda: [t.double() for t in SMALL.tensors()],
        "there is no fused kernel for torch.float64 on cpu",
    ),
    "float16": (
        lambda: [t.half() for t in SMALL.tensors()],
        "there is no fused kernel for torch.float16 on cpu",
    ),
    "meta": (
        lambda: [t.to("meta") for t in SMALL.tensors()],
        "this build has no fused kernel for meta tensors",
    ),
    "widths": (
        lambda: [torch.rand(1, 1, 6, 7), *network(1, (9, 1, 5), (32, 16))],
        "the fused kernels have widths (64, 32), this network has (32, 16)",
    ),
    "kernel sizes": (
        lambda: [torch.rand(1, 1, 6, 7), *network(1, (5, 3, 3))],
        "the fused kernels have kernel sizes 9-1-5, 9-3-5, 9-5-5, this network has 5-3-3",
    ),
    "channels": (
        lambda: [torch.rand(1, 2, 6, 7), *network(2)],
        "the fused kernels take 1 or 3 channels, this network has 2",
    ),
}


@pytest.mark.parametrize("case", UNFUSED)
def test_auto_falls_back_and_warns_once_with_the_reason(
    case: str, extension: None, fresh_warnings: None
) -> None:
    make, reason = UNFUSED[case]
    tensors = make()
    with pytest.warns(UserWarning, match=re.escape(reason)):
        actual = functional.srcnn(*tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functional.srcnn(*tensors)
        expected = functional.srcnn(*tensors, backend="reference")
    assert actual.shape == expected.shape
    if not actual.is_meta:
        assert torch.equal(actual, expected)


def module_in_a_module(x: Tensor) -> Tensor:
    return torch.nn.Sequential(FusedSRCNN(kernel_sizes=(9, 1, 5), dtype=x.dtype))(x)


def module_under_autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return FusedSRCNN(kernel_sizes=(9, 1, 5), dtype=x.dtype)(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: FusedSRCNN(kernel_sizes=(9, 1, 5), dtype=x.dtype)(x),
        lambda x: functional.srcnn(x, *(t.double() for t in SMALL.tensors()[1:])),
        lambda x: functional.bicubic_resize(x, scale=2),
        module_in_a_module,
        module_under_autocast,
    ],
    ids=["module", "srcnn", "bicubic_resize", "module in a module", "module under autocast"],
)
def test_the_warning_points_at_the_line_of_the_call(
    call: Callable[[Tensor], Tensor], extension: None, fresh_warnings: None
) -> None:
    with pytest.warns(UserWarning, match="running the slower") as caught:
        call(torch.rand(1, 1, 6, 7, dtype=torch.float64))
    lines = {line for *_, line in call.__code__.co_lines() if line}
    assert caught[0].filename == __file__
    assert caught[0].lineno in lines


@pytest.mark.parametrize("case", UNFUSED)
def test_fused_raises_the_reason(case: str, extension: None) -> None:
    make, reason = UNFUSED[case]
    with pytest.raises(RuntimeError, match=re.escape(f'backend="fused" cannot run: {reason}')):
        functional.srcnn(*make(), backend="fused")


def test_without_the_extension_everything_runs_on_the_reference(
    monkeypatch: pytest.MonkeyPatch, fresh_warnings: None
) -> None:
    monkeypatch.setattr(_extension, "_module", None)
    monkeypatch.setattr(_extension, "_reason", "the compiled extension is not there")
    tensors = SMALL.tensors()
    with pytest.warns(UserWarning, match="the compiled extension is not there"):
        actual = functional.srcnn(*tensors)
    assert torch.equal(actual, reference.srcnn(*tensors))
    with pytest.raises(RuntimeError, match="cannot run: the compiled extension is not there"):
        functional.bicubic_resize(tensors[0], scale=2, backend="fused")
    with pytest.raises(RuntimeError, match="the compiled extension is not there"):
        _extension.module()


def test_bicubic_of_8_bit_images_has_no_fused_kernel_and_needs_no_warning(
    extension: None, fresh_warnings: None
) -> None:
    x = torch.randint(0, 256, (3, 6, 7), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert functional.bicubic_resize(x, scale=2).dtype == torch.uint8
    with pytest.raises(RuntimeError, match=r"there is no fused kernel for torch.uint8 on cpu"):
        functional.bicubic_resize(x, scale=2, backend="fused")


@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7), (2, 3, 6, 7)], ids=str)
def test_bicubic_takes_rank_two_three_and_four(shape: tuple[int, ...], extension: None) -> None:
    x = torch.rand(shape)
    actual = functional.bicubic_resize(x, size=(9, 4), backend="fused")
    expected = reference.bicubic_resize(x, size=(9, 4))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_autocast_brings_mixed_dtypes_together() -> None:
    x, *parameters = SMALL.tensors()
    expected = functional.srcnn(x.bfloat16().float(), *parameters)
    with torch.autocast("cpu", torch.bfloat16):
        actual = functional.srcnn(x.bfloat16(), *parameters)
        by_reference = functional.srcnn(x.bfloat16(), *parameters, backend="reference")
    assert torch.equal(actual, expected)
    torch.testing.assert_close(by_reference, expected, rtol=0, atol=1e-5)
    with pytest.raises(TypeError, match=r"weight1 must be torch.bfloat16 as x is"):
        functional.srcnn(x.bfloat16(), *parameters)


def test_backward_inside_autocast_is_as_outside(extension: None) -> None:
    x, *parameters = SMALL.tensors()
    for parameter in parameters:
        parameter.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(functional.srcnn(x, *parameters).sum(), parameters)
    outside = torch.autograd.grad(functional.srcnn(x, *parameters).sum(), parameters)
    assert all(torch.equal(one, other) for one, other in zip(inside, outside, strict=True))


# --- argument errors ------------------------------------------------------------------------------


def replaced(index: int, value: object) -> list[object]:
    tensors: list[object] = list(SMALL.tensors())
    tensors[index] = value
    return tensors


BAD_TENSORS = {
    "rank": (lambda: replaced(0, torch.rand(3, 8, 8)), "x must be [N, 1, H, W], got [3, 8, 8]"),
    "channels": (
        lambda: replaced(0, torch.rand(1, 3, 8, 8)),
        "x must be [N, 1, H, W], got [1, 3, 8, 8]",
    ),
    "no rows": (
        lambda: replaced(0, torch.rand(1, 1, 0, 8)),
        "x must have at least one row and one column, got [1, 1, 0, 8]",
    ),
    "integers": (
        lambda: replaced(0, torch.zeros(1, 1, 8, 8, dtype=torch.uint8)),
        "x must be float16, bfloat16, float32 or float64, got torch.uint8",
    ),
    "integer weights": (
        lambda: replaced(3, torch.zeros(32, 64, 1, 1, dtype=torch.int8)),
        "weight2 must be float16, bfloat16, float32 or float64, got torch.int8",
    ),
    "no tensor": (lambda: replaced(0, [[0.5]]), "x must be a torch.Tensor, got list"),
    "no bias": (lambda: replaced(2, None), "bias1 must be a torch.Tensor, got NoneType"),
    "dtype mix": (
        lambda: replaced(0, torch.rand(1, 1, 8, 8, dtype=torch.float64)),
        "weight1 must be torch.float64 as x is, got torch.float32",
    ),
    "device mix": (
        lambda: replaced(4, torch.rand(32, device="meta")),
        "bias2 must be on cpu as x is, got meta",
    ),
    "weight rank": (
        lambda: replaced(1, torch.rand(64, 81)),
        "weight1 must be [n1, 1, f, f], got [64, 81]",
    ),
    "even kernel": (
        lambda: replaced(1, torch.rand(64, 1, 8, 8)),
        "weight1 must have a square kernel of odd size, got [64, 1, 8, 8]",
    ),
    "oblong kernel": (
        lambda: replaced(3, torch.rand(32, 64, 1, 3)),
        "weight2 must have a square kernel of odd size, got [32, 64, 1, 3]",
    ),
    "weights that do not follow": (
        lambda: replaced(3, torch.rand(32, 63, 1, 1)),
        "weight2 must be [n2, 64, f, f], got [32, 63, 1, 1]",
    ),
    "other channels out": (
        lambda: replaced(5, torch.rand(3, 32, 5, 5)),
        "weight3 must be [1, 32, f, f], got [3, 32, 5, 5]",
    ),
    "bias length": (lambda: replaced(6, torch.rand(3)), "bias3 must be [1], got [3]"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
@pytest.mark.parametrize("function", [functional.srcnn, reference.srcnn])
def test_srcnn_refuses_bad_tensors(case: str, function: Callable[..., Tensor]) -> None:
    make, message = BAD_TENSORS[case]
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        function(*make())


@pytest.mark.parametrize("case", [case for case in BAD_TENSORS if case != "dtype mix"])
def test_srcnn_refuses_bad_tensors_under_autocast(case: str) -> None:
    make, message = BAD_TENSORS[case]
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"),
    ):
        functional.srcnn(*make())


@pytest.mark.parametrize("function", [functional.srcnn, reference.srcnn])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale must be a positive integer or None, got 0"),
        ({"scale": -2}, "scale must be a positive integer or None, got -2"),
        ({"scale": 2.0}, "scale must be a positive integer or None, got 2.0"),
        ({"scale": True}, "scale must be a positive integer or None, got True"),
        ({"bicubic": "cubic"}, "bicubic must be one of 'matlab', 'pil', 'torch', got 'cubic'"),
        ({"padding_mode": "same"}, "padding_mode must be one of 'zeros', 'replicate', got 'same'"),
    ],
    ids=str,
)
def test_srcnn_refuses_bad_options(
    function: Callable[..., Tensor], options: dict[str, object], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        function(*SMALL.tensors(), **options)


SMALL_SCALE = r"scale must be from 1e-06 to 1e\+09, and at least 0\.001 / length, got "


@pytest.mark.parametrize("function", [functional.bicubic_resize, reference.bicubic_resize])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 2), {}, "give either scale or size, got scale=None and size=None"),
        (
            (2, 2),
            {"scale": 2, "size": (4, 4)},
            "give either scale or size, got scale=2 and size=(4, 4)",
        ),
        ((2, 2), {"scale": 0}, "scale must be a positive number or .*, got 0"),
        ((2, 2), {"scale": (2, -1)}, r"scale must be a positive number or .*, got \(2, -1\)"),
        ((2, 2), {"scale": math.nan}, "scale must be a positive number or .*, got nan"),
        ((2, 2), {"scale": math.inf}, "scale must be a positive number or .*, got inf"),
        *(
            (
                (8, 8),
                {"scale": scale, "convention": convention},
                SMALL_SCALE + rf"\({got}, {got}\).*",
            )
            for scale, got in ((1e-10, "1e-10"), (1e-7, "1e-07"), (1e300, r"1e\+300"))
            for convention in CONVENTIONS
        ),
        ((8, 8), {"scale": (1, 1e-4)}, SMALL_SCALE + r"\(1, 0\.0001\) for 8 x 8 pixels"),
        ((8, 8), {"scale": (1, 1e9)}, r"size must be below 2\^31 .*, got \(8, 8000000000\)"),
        ((2, 2), {"size": (2**31, 1)}, r"size must be below 2\^31 .*, got \(2147483648, 1\)"),
        (
            (2, 2),
            {"size": (2**30, 2**30)},
            r"size must be .* 2\^60 in all, got \(1073741824, 1073741824\)",
        ),
        ((2, 2), {"scale": "2"}, "scale must be a positive number or .*, got '2'"),
        ((2, 2), {"size": 4}, r"size must be \(height, width\), got 4"),
        ((2, 2), {"size": (4, 0)}, r"size must be two positive integers, got \(4, 0\)"),
        ((2, 2), {"size": (4, 2.5)}, r"size must be two positive integers, got \(4, 2.5\)"),
        (
            (2, 2),
            {"scale": 2, "convention": "bicubic"},
            "convention must be one of 'matlab', 'pil', 'torch', got 'bicubic'",
        ),
        ((2,), {"scale": 2}, r"x must be \[N, C, H, W\], \[C, H, W\] or \[H, W\], got \[2\]"),
        ((0, 2), {"scale": 2}, r"x must have at least one row and one column, got \[0, 2\]"),
    ],
    ids=str,
)
def test_bicubic_refuses_bad_arguments(
    function: Callable[..., Tensor],
    shape: tuple[int, ...],
    options: dict[str, object],
    message: str,
) -> None:
    if message.startswith("give"):
        message = re.escape(message)
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        function(torch.rand(shape), **options)


@pytest.mark.parametrize("function", [functional.bicubic_resize, reference.bicubic_resize])
def test_bicubic_refuses_to_make_one_pixel_of_ten_million(function: Callable[..., Tensor]) -> None:
    message = r"^size / length must be from 1e-06 .*, got \(1, 1e-07\) for 1 x 10000000 pixels$"
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(1, 1).expand(1, 10**7), size=(1, 1))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_bicubic_makes_one_pixel_of_the_smallest_scale(convention: str, extension: None) -> None:
    x = torch.rand(8, 8)
    actual = functional.bicubic_resize(x, scale=1.3e-4, convention=convention)
    expected = reference.bicubic_resize(x.double(), scale=1.3e-4, convention=convention)
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-4)


def test_bicubic_refuses_other_dtypes() -> None:
    with pytest.raises(TypeError, match=r"x must be .* or uint8, got torch.int32"):
        functional.bicubic_resize(torch.zeros(2, 2, dtype=torch.int32), scale=2)


def test_an_unknown_backend_is_refused() -> None:
    message = "^backend must be one of 'auto', 'fused', 'reference', got 'cuda'$"
    with pytest.raises(ValueError, match=message):
        functional.srcnn(*SMALL.tensors(), backend="cuda")
    with pytest.raises(ValueError, match=message):
        functional.bicubic_resize(image((1, 1, 2, 2)), scale=2, backend="cuda")
