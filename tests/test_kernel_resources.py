"""scripts/kernel_resources.py: ptxas's words, and what --check refuses."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent

KERNEL = "_ZN5srcnn4cuda24srcnn_forward_fma_kernelILi5ELi1ENS_4HalfEEEvNS0_13ForwardParamsIT1_EE"
LOG = f"""
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{KERNEL}' for 'sm_90a'
ptxas info    : Function properties for {KERNEL}
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 16 bytes cumulative stack size, 64 bytes smem
ptxas info    : Compile time = 43.585 ms
"""

pytestmark = pytest.mark.skipif(shutil.which("c++filt") is None, reason="needs c++filt")


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    path = ROOT / "scripts" / "kernel_resources.py"
    spec = importlib.util.spec_from_file_location("kernel_resources", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kernel_resources", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TABLE", tmp_path / "kernels.json")
    monkeypatch.setattr(module, "DOCUMENT", tmp_path / "kernels.md")
    (tmp_path / "kernels.md").write_text(
        "A\n<!-- resources -->\nold\n<!-- end of resources -->\nB\n"
    )
    (tmp_path / "launches").write_text(
        '{"sm": 90, "kernel": "fma", "kernel2": 5, "channels": 1, "shared_bytes": 20416}\n'
    )
    return module


def build(tmp_path: Path, log: str) -> Path:
    cmake = tmp_path / "build" / "CMakeFiles"
    (cmake / "srcnn_fused_cuda.dir").mkdir(parents=True, exist_ok=True)
    (cmake / "srcnn_fused_cuda.dir" / "a.cu.o.ptxas").write_text(log)
    (cmake / "3.25").mkdir(exist_ok=True)
    version = 'set(CMAKE_CUDA_COMPILER_VERSION "13.0.88")\n'
    (cmake / "3.25" / "CMakeCUDACompiler.cmake").write_text(version)
    return tmp_path / "build"


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["kernel_resources.py", *map(str, arguments)])
    result: int = module.main()
    return result


def test_a_spill_is_shown_and_refused(
    resources: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = build(tmp_path, LOG)
    launches = tmp_path / "launches"
    assert run(resources, monkeypatch, folder, "--launches", launches, "--write") == 0
    row = (
        "| forward_fma, 9-5-5, 1 channel, float16 | 128, 20 KiB, **spills 12 + 8**, **stack 16** |"
    )
    assert row in (tmp_path / "kernels.md").read_text()
    assert (
        (tmp_path / "kernels.md").read_text().startswith("A\n<!-- resources -->\nnvcc 13.0.88.\n")
    )
    assert (tmp_path / "kernels.md").read_text().endswith("\n<!-- end of resources -->\nB\n")
    assert json.loads((tmp_path / "kernels.json").read_text())["nvcc"] == "13.0.88"
    capsys.readouterr()
    assert run(resources, monkeypatch, folder, "--check") == 1
    assert capsys.readouterr().err == (
        "kernel_resources: srcnn_forward_fma, 9-5-5, 1 channel, float16 on sm_90a: "
        "12 bytes of spill stores, 8 of spill loads, 16 of stack\n"
    )


def test_an_old_table_is_refused_under_the_same_nvcc_only(
    resources: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = LOG.replace("16 bytes stack", "0 bytes stack").replace("12 bytes spill", "0 bytes spill")
    log = log.replace("8 bytes spill", "0 bytes spill")
    folder = build(tmp_path, log)
    run(resources, monkeypatch, folder, "--launches", tmp_path / "launches", "--write")
    assert run(resources, monkeypatch, folder, "--check") == 0
    build(tmp_path, log.replace("Used 128", "Used 127"))  # of the 128 that it gets anyway
    assert run(resources, monkeypatch, folder, "--check") == 0
    build(tmp_path, log.replace("Used 128", "Used 120"))
    assert run(resources, monkeypatch, folder, "--check") == 1
    assert "docs/kernels.json is out of date for 1 kernels" in capsys.readouterr().err
    table = (tmp_path / "kernels.json").read_text()
    (tmp_path / "kernels.json").write_text(table.replace("13.0.88", "12.8.61"))
    assert run(resources, monkeypatch, folder, "--check") == 0
    assert "is of nvcc 12.8.61, this is 13.0.88: not compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "name", "chips"),
    [
        ("5, 1, srcnn::Half", "fma, 9-5-5, 1 channel, float16", ["75", "80", "90a", "120"]),
        (
            "srcnn::cuda::MmaNetwork<1, 3, srcnn::cuda::Sixteen<srcnn::BFloat16>, false> ",
            "mma, 9-1-5, 3 channels, bfloat16",
            ["80", "90a", "120"],
        ),
        (
            "srcnn::cuda::MmaNetwork<3, 1, srcnn::cuda::Tf32x3, false> ",
            "tf32x3, 9-3-5, 1 channel, float32",
            ["80", "90a", "120"],
        ),
        (
            "srcnn::cuda::MmaNetwork<5, 1, srcnn::cuda::Tf32, true> ",
            "wgmma, 9-5-5, 1 channel, tf32",
            ["90a"],
        ),
    ],
)
def test_kernels_have_the_names_that_force_them_and_no_row_where_they_trap(
    resources: ModuleType, arguments: str, name: str, chips: list[str]
) -> None:
    file = "fma" if "Mma" not in arguments else "mma"
    demangled = (
        f"void srcnn::cuda::(anonymous namespace)::srcnn_forward_{file}_kernel<{arguments}>(p)"
    )
    assert resources.readable(demangled) == f"srcnn_forward_{name}"
    kernel = f"srcnn_forward_{name}"
    assert [sm for sm in ("75", "80", "90a", "120") if resources.runs_on(kernel, sm)] == chips


def test_the_backward_is_named_by_its_network(resources: ModuleType) -> None:
    kernel = "srcnn::cuda::(anonymous namespace)::srcnn_backward_fma_kernel<3>"
    assert resources.readable(f"void {kernel}(srcnn::cuda::BackwardParams)") == (
        "srcnn_backward_fma, 9-3-5"
    )
    space = "srcnn::cuda::(anonymous namespace)::"
    kernel = f"{space}srcnn_backward_mma_kernel<{space}BackwardMmaNetwork<5, srcnn::BFloat16> >"
    name = resources.readable(f"void {kernel}(srcnn::cuda::BackwardMmaParams<srcnn::BFloat16>)")
    assert name == "srcnn_backward_mma, 9-5-5, bfloat16"
    assert [sm for sm in ("75", "80", "90a", "120") if resources.runs_on(name, sm)] == [
        "80",
        "90a",
        "120",
    ]


def test_a_log_without_the_report_is_an_error(resources: ModuleType) -> None:
    with pytest.raises(ValueError, match="ptxas says nothing of k on sm_80: was it run with -v"):
        resources.parse("ptxas info    : Compiling entry function 'k' for 'sm_80'\n")


def test_the_committed_tables_have_their_markers_and_no_spill() -> None:
    document = (ROOT / "docs" / "kernels.md").read_text()
    for marker in ("resources", "model"):
        assert (
            document.count(f"<!-- {marker} -->\n|") + document.count(f"<!-- {marker} -->\nnvcc")
            == 1
        )
        assert document.count(f"<!-- end of {marker} -->") == 1
    rows = json.loads((ROOT / "docs" / "kernels.json").read_text())["kernels"]
    assert rows
    assert not [row for row in rows if row["spill_stores"] or row["spill_loads"] or row["stack"]]
