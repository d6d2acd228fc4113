"""bench.compare over sizes, threads and dtypes; bench.scaling and bench.accuracy as a whole."""

import json
import sys
from pathlib import Path

import pytest
import torch

from srcnn_fused.benchmark.cases import Case

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import accuracy, admission, ceilings, compare, memory, scaling

pytestmark = pytest.mark.usefixtures("extension")


@pytest.fixture(autouse=True)
def keep_thread_count():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_compare_measures_every_combination_against_the_machines_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(ceilings, "_MATMUL_SIDE", 64)
    monkeypatch.setattr(ceilings, "_COPY_BYTES", 1 << 16)
    path = tmp_path / "result.json"
    arguments = ["--size", "32x24", "24x16", "--threads", "1", "2", "--dtype", "float32"]
    arguments += ["--rounds", "2", "--ceilings", "--peers", "fused", "eager"]
    assert compare.main([*arguments, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["settings"] == {"rounds": 2, "dtype": "float32"}
    assert 0 <= result["machine"]["others_share"] <= 1
    assert [(case["threads"], case["size"]) for case in result["cases"]] == [
        (1, [32, 24]),
        (1, [24, 16]),
        (2, [32, 24]),
        (2, [24, 16]),
    ]
    for case in result["cases"]:
        rates = case["ceilings"]
        floor = max(
            case["flop"] / rates["matmul_gflops"],
            2 * 4 * case["size"][0] * case["size"][1] / rates["copy_gb_per_s"],
        )
        assert case["floor_ms"] == pytest.approx(floor / 1e6)
        assert [entry["name"] for entry in case["contenders"]] == ["fused", "eager"]
        for entry in case["contenders"]:
            assert entry["share_of_floor"] == pytest.approx(case["floor_ms"] / entry["median_ms"])


def test_what_does_not_fit_is_not_run_and_says_so(tmp_path, monkeypatch):
    needs = {"fused": 1.0, "eager": 700.0, "onnxruntime": 500.0, "openvino": 400.0}
    monkeypatch.setattr(admission, "bytes_per_pixel", lambda case, name, *_: needs[name])
    monkeypatch.setattr(admission, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(memory, "SHARE_OF_AVAILABLE", 0.5)
    refused = admission.refused(Case("9-1-5", 40, 25), list(needs), "float32", 1)
    # 500 kB: eager alone would take 700 kB; ONNX Runtime takes and keeps all there is.
    assert list(refused) == ["eager", "openvino"]
    assert admission.refused(Case("9-1-5", 10, 10), list(needs), "float32", 1) == {}

    path = tmp_path / "result.json"
    arguments = ["--size", "40x25", "--rounds", "1", "--peers", "fused", "eager"]
    assert compare.main([*arguments, "--json", str(path)]) == 0
    fused, eager = json.loads(path.read_text())["cases"][0]["contenders"]
    assert fused["status"] == "ok"
    assert eager["status"] == "out of memory"
    assert eager["reason"].startswith("would need about 0.0 GiB")


def test_scaling_tells_the_cost_of_a_pixel_and_its_ratio_to_the_base(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "result.json"
    arguments = ["--shape", "3x20x16", "24x16", "--base", "32x32", "--threads", "1"]
    arguments += ["--rounds", "2", "--no-memory", "--json", str(path)]
    assert scaling.main(arguments) == 0
    result = json.loads(path.read_text())
    assert result["base"]["size"] == [32, 32]
    for case, pixels in zip(result["cases"], (3 * 20 * 16, 24 * 16), strict=True):
        (entry,) = case["contenders"]
        assert entry["ns_per_pixel"] == pytest.approx(1e6 * entry["median_ms"] / pixels)
        assert len(entry["ratios"]) == 2
        assert min(entry["ratios"]) <= entry["ratio_to_base"] <= max(entry["ratios"])
    assert "20x16, 3 images" in capsys.readouterr().out


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    images = tmp_path / "Two"
    images.mkdir()
    generator = torch.Generator().manual_seed(3)
    for name, size in (("a", (36, 40)), ("b", (66, 30))):
        pixels = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(images / f"{name}.png")
    return images


def test_accuracy_forces_every_route_and_finds_each_within_its_tolerance(folder, tmp_path):
    path = tmp_path / "result.json"
    assert accuracy.main(["--data", str(folder), "--model", "9-1-5-x3", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["settings"] == {"dataset": "Two"}
    (case,) = result["cases"]
    assert case["images"] == 2
    by_name = {entry["name"]: entry for entry in case["contenders"]}
    assert "winograd, generic, float32" in by_name
    errors = set()
    for name, entry in by_name.items():
        if name.endswith("float32"):
            assert 0 < entry["max_error"] < 5e-5
            assert abs(entry["psnr_difference"]) < 1e-3
            errors.add(entry["max_error"])
    assert len(errors) > 1, "every route gave the same: were they forced?"


def test_accuracy_notices_a_wrong_route(folder, monkeypatch):
    monkeypatch.setitem(accuracy.TOLERANCES, "float32", 1e-9)
    assert accuracy.main(["--data", str(folder), "--model", "9-1-5-x3"]) == 1
