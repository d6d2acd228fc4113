"""The build: one source list, a backend that finds torch, one version, nothing left out."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()

# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {"PIL": "pillow"}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The build backend, imported without putting the repository on sys.path."""
    folder = ROOT / "_build_backend"
    spec = importlib.util.spec_from_file_location(
        "_build_backend", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "_build_backend", module)
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.startswith("_build_backend.")]:
        del sys.modules[name]


@pytest.fixture
def toolchain(backend: ModuleType) -> ModuleType:
    return sys.modules["_build_backend.toolchain"]


def read_sources(path: Path) -> dict[str, list[str]]:
    module = importlib.import_module("_build_backend.source_list")
    result: dict[str, list[str]] = module.read_sources(path)
    return result


def test_the_source_list_names_every_source_once(backend: ModuleType) -> None:
    listed = [name for names in read_sources(ROOT / "csrc/sources.txt").values() for name in names]
    there = [path for kind in ("cpp", "cu") for path in (ROOT / "csrc").rglob(f"*.{kind}")]
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in there)


def test_only_the_torch_section_includes_torch_or_python(backend: ModuleType) -> None:
    listed = read_sources(ROOT / "csrc/sources.txt")
    for name in listed["native"] + listed["cuda"]:
        assert not re.search(r"#include <(torch|pybind11|Python)", (ROOT / name).read_text()), name


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_cmake_and_python_read_the_same_sources(backend: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "csrc" / "sources.txt"
    path.parent.mkdir()
    path.write_text(
        "# all\n\n[torch]\na.cpp\n[native]  # plain\n  cpu/b.cpp\ncpu/c.cpp # last\n[cuda]\n"
    )
    script = tmp_path / "script.cmake"
    script.write_text(
        f'include("{ROOT}/cmake/sources.cmake")\nsrcnn_fused_read_sources("{path}")\n'
        'message("${SRCNN_FUSED_SOURCES_torch}|${SRCNN_FUSED_SOURCES_native}|${SRCNN_FUSED_SOURCES_cuda}")\n'
    )
    cmake = subprocess.run(["cmake", "-P", script], capture_output=True, text=True, check=True)
    expected = {"torch": ["csrc/a.cpp"], "native": ["csrc/cpu/b.cpp", "csrc/cpu/c.cpp"], "cuda": []}
    assert read_sources(path) == expected
    relative = cmake.stderr.strip().replace(f"{tmp_path}/", "")
    assert relative == "|".join(";".join(names) for names in expected.values())


def test_a_source_outside_a_section_is_an_error(backend: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "sources.txt"
    path.write_text("ops.cpp\n")
    with pytest.raises(ValueError, match=r"sources.txt:1: ops.cpp stands before the first section"):
        read_sources(path)
    path.write_text("[rocm]\n")
    with pytest.raises(ValueError, match="section must be one of torch, native, cuda, got rocm"):
        read_sources(path)


@pytest.mark.parametrize(
    ("installed", "compiles", "asked"),
    [
        ("2.13.0+cpu", True, []),
        ("2.10.0", True, []),
        ("2.9.1", True, ["torch>=2.10"]),
        (None, True, ["torch>=2.10"]),
        (None, False, []),
    ],
)
def test_the_backend_uses_the_torch_of_the_environment(
    backend: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    installed: str | None,
    compiles: bool,
    asked: list[str],
) -> None:
    if installed:
        metadata = tmp_path / f"torch-{installed}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {installed}\n")
    compiler = backend.Compiler("c++", "a compiler") if compiles else "no C++ compiler"
    monkeypatch.setattr(backend, "find_compiler", lambda: compiler)
    monkeypatch.setattr(sysconfig, "get_path", lambda name, **_: str(tmp_path))
    monkeypatch.setattr(sys, "path", ["the build's own packages"])
    assert backend.get_requires_for_build_wheel() == asked
    assert backend.get_requires_for_build_editable() == asked
    assert sys.path == ["the build's own packages", str(tmp_path)]


@pytest.mark.parametrize(
    ("cxx", "message"),
    [
        ("/nonexistent/c++", r"no C\+\+ compiler \(CXX=/nonexistent/c\+\+ was not found\)"),
        ("false", r"'false' cannot compile C\+\+20 with Python's headers \(exit 1\)"),
    ],
)
def test_a_missing_compiler_is_one_line(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch, cxx: str, message: str
) -> None:
    monkeypatch.setenv("CXX", cxx)
    toolchain.find_compiler.cache_clear()
    assert re.fullmatch(message, toolchain.find_compiler())


def build_without_compiler(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CXX": "/nonexistent/c++", **variables}
    tree = tmp_path / "tree"
    for name in ("_build_backend", "csrc", "srcnn_fused"):
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "setup.py", "build", "--build-base", str(tmp_path / "build")]
    return subprocess.run(
        command, check=False, cwd=tree, env=environment, capture_output=True, text=True
    )


def test_without_a_compiler_the_package_is_built_without_its_extension(tmp_path: Path) -> None:
    result = build_without_compiler(tmp_path, SRCNN_FUSED_REQUIRE_EXTENSION="0")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("srcnn_fused:")]
    assert lines == [
        "srcnn_fused: no C++ compiler (CXX=/nonexistent/c++ was not found): "
        "installing without the extension, on the slow reference path"
    ]
    assert list((tmp_path / "build").rglob("modules.py"))
    assert list((tmp_path / "build").rglob("py.typed"))
    assert not list((tmp_path / "build").rglob("*.so"))


def test_without_a_compiler_a_required_extension_is_an_error(tmp_path: Path) -> None:
    result = build_without_compiler(tmp_path, SRCNN_FUSED_REQUIRE_EXTENSION="1")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        "srcnn_fused: error: no C++ compiler (CXX=/nonexistent/c++ was not found), "
        "and SRCNN_FUSED_REQUIRE_EXTENSION=1"
    )


def test_the_cuda_choice_is_explained(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", "/nonexistent")
    monkeypatch.setenv("SRCNN_FUSED_CUDA", "auto")
    assert toolchain.find_cuda([]) == (None, "CPU only (this version has no CUDA kernels)")
    no_nvcc = "no nvcc was found; CUDA_HOME names the toolkit"
    assert toolchain.find_cuda(["a.cu"]) == (None, f"CPU only ({no_nvcc})")
    monkeypatch.setenv("SRCNN_FUSED_CUDA", "0")
    assert toolchain.find_cuda(["a.cu"]) == (None, "CPU only (SRCNN_FUSED_CUDA=0)")
    monkeypatch.setenv("SRCNN_FUSED_CUDA", "1")
    with pytest.raises(RuntimeError, match=f"SRCNN_FUSED_CUDA=1, but {no_nvcc}"):
        toolchain.find_cuda(["a.cu"])
    monkeypatch.setenv("SRCNN_FUSED_CUDA", "yes")
    with pytest.raises(RuntimeError, match="SRCNN_FUSED_CUDA must be 0, 1 or auto, got 'yes'"):
        toolchain.find_cuda([])


def test_the_cuda_toolkit_is_the_one_nvcc_names(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvcc = tmp_path / "wrapper" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Cuda compilation tools, release 13.0, V13.0.88"\n'
        f'[ "$1" = -dryrun ] && echo "#$ TOP={tmp_path}/real/bin/.." >&2\nexit 0\n'
    )
    nvcc.chmod(0o755)
    (tmp_path / "real" / "bin").mkdir(parents=True)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "wrapper"))
    monkeypatch.setenv("SRCNN_FUSED_CUDA", "1")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0 9.0")
    cuda, line = toolchain.find_cuda(["a.cu"])
    assert (cuda.home, cuda.version) == (f"{tmp_path}/real", (13, 0))
    assert cuda.architectures == "8.0;9.0a"
    assert line == f"CPU and CUDA 13.0 from {tmp_path}/real for 8.0;9.0a"


@pytest.mark.parametrize(
    ("wished", "version", "expected"),
    [
        ("9.0", (13, 0), "9.0a"),
        ("8.0;9.0+PTX", (13, 0), "8.0;9.0a;9.0+PTX"),
        ("8.6, 9.0a 12.0+PTX;", (13, 0), "8.6;9.0a;12.0+PTX"),
        ("Ampere Hopper", (13, 0), "Ampere;9.0a;9.0+PTX"),
        ("", (13, 0), "7.5;8.0;8.6;8.9;9.0a;10.0;12.0+PTX"),
        (" ", (12, 6), "7.5;8.0;8.6;8.9+PTX;9.0a"),
    ],
)
def test_hopper_gets_its_own_instructions(
    toolchain: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    wished: str,
    version: tuple[int, int],
    expected: str,
) -> None:
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", wished)
    assert toolchain.Cuda("/usr/local/cuda", version).architectures == expected


def test_cmake_and_python_build_for_the_same_chips(toolchain: ModuleType) -> None:
    match = re.search(
        r"set\(CMAKE_CUDA_ARCHITECTURES (.+)\)", (ROOT / "CMakeLists.txt").read_text()
    )
    assert match is not None
    names = [name.removesuffix("-real") for name in match.group(1).split()]
    listed = toolchain.CUDA_ARCHITECTURES.removesuffix("+PTX").replace(".", "")
    assert ";".join(names) == listed


def test_every_statement_of_the_version_is_the_same() -> None:
    import srcnn_fused
    from srcnn_fused import _extension

    match = re.search(r'^version = "(.+)"$', PYPROJECT, re.MULTILINE)
    assert match is not None
    assert importlib.metadata.version("srcnn_fused") == match.group(1)
    assert srcnn_fused.__version__ == match.group(1)
    if _extension.available():
        assert _extension.module().build_info()["version"] == match.group(1)


def test_the_extension_is_there_where_it_can_be_built(toolchain: ModuleType) -> None:
    from srcnn_fused import _extension

    toolchain.find_compiler.cache_clear()
    compiler = toolchain.find_compiler()
    if isinstance(compiler, str):
        pytest.skip(compiler)
    assert _extension.available(), _extension.why_unavailable()


def test_every_data_file_of_the_package_is_installed() -> None:
    import srcnn_fused

    package = ROOT / "srcnn_fused"
    there = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    wanted = {path for path in there if path.suffix not in (".py", ".pyc", ".so", ".md")}
    assert Path("py.typed") in wanted
    installed = Path(str(srcnn_fused.__file__)).parent
    assert not [path for path in sorted(wanted) if not (installed / path).is_file()]


def declared(table: str) -> set[str]:
    """Names in `table = [...]` of pyproject.toml."""
    match = re.search(rf"^{table} = \[(.*?)\]$", PYPROJECT, re.MULTILINE | re.DOTALL)
    assert match is not None
    return set(re.findall(r'"([\w.-]+)', match.group(1)))


def test_every_import_of_the_package_is_declared() -> None:
    imported: dict[str, Path] = {}
    for path in sorted((ROOT / "srcnn_fused").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            imported.update((name.partition(".")[0], path.relative_to(ROOT)) for name in names)
    ours = {*sys.stdlib_module_names, "srcnn_fused", "tomllib"}  # tomli's place from 3.11 on
    foreign = {
        DISTRIBUTIONS.get(name, name): path for name, path in imported.items() if name not in ours
    }
    assert set(foreign) == declared("dependencies"), foreign
