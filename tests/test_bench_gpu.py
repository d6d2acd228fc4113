"""The GPU benchmark, run on the CPU in the GPU's place: cases, checks, turns, result and tables."""

import json
import math
import os
import sys
from pathlib import Path

import pytest
import torch

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import report
from bench.gpu import __main__ as program
from bench.gpu import report as gpu_report
from bench.gpu.cases import PRECISIONS, GpuCase, Shape, parse_shape, plan
from bench.gpu.device import HostDevice
from bench.gpu.measure import Budget
from bench.gpu.peers import COMPILED, CONTENDERS, KERNEL_VARIABLE, Contender, as_channels_last
from srcnn_fused import _extension, reference
from srcnn_fused.benchmark import results

pytestmark = pytest.mark.usefixtures("one_thread", "switches")

ALL = list(CONTENDERS)
GRAPHS = [name for name, contender in CONTENDERS.items() if contender.graphed]


def run(tmp_path, *arguments):
    path = tmp_path / "result.json"
    status = program.main(["--device", "cpu", "--rounds", "2", *arguments, "--json", str(path)])
    return status, json.loads(path.read_text())


def by_name(case):
    return {entry["name"]: entry for entry in case["contenders"]}


def needs_fused():
    if (reason := _extension.why_unavailable()) is not None:
        pytest.skip(reason)


def float64_output(case):
    network = case.make_network().double()
    return reference.srcnn(
        case.make_input().double(), *network.parameters(), scale=case.scale, bicubic="torch"
    )


def test_a_run_measures_every_case_and_writes_tables(tmp_path, capsys, monkeypatch):
    needs_fused()
    # Compiling takes minutes; what is run then is not what this is about.
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)
    shapes = ["24x16", "2x16x8", "24x16/2"]
    networks = ["9-1-5", "9-3-5"]
    status, result = run(
        tmp_path, "--shape", *shapes, "--network", *networks, "--precision", "float32", "tf32",
        "--kernels", "fma",
    )  # fmt: skip
    assert status == 0, capsys.readouterr()
    assert (result["schema"], result["kind"]) == (results.SCHEMA, "gpu-inference")
    assert result["lost"] is None
    assert set(result["ceilings"]["matmul_tflops"]) == {"float32", "tf32"}
    assert result["ceilings"]["copy_gb_per_s"] > 0
    order = [(case["precision"], case["size"][0], case["batch"], case["scale"], case["network"])
             for case in result["cases"]]  # fmt: skip
    assert order == [
        *((precision, 24, 1, None, net) for precision in ("float32", "tf32") for net in networks),
        *((precision, width, batch, scale, net) for precision in ("float32", "tf32")
          for width, batch, scale in ((16, 2, None), (24, 1, 2)) for net in networks),
    ]  # fmt: skip

    for number, case in enumerate(result["cases"]):
        entries = by_name(case)
        # torch.compile runs on the first shape alone.
        assert set(entries) == {*ALL, "fused:fma"} - set(() if number < 4 else COMPILED)
        for name, entry in entries.items():
            if name in GRAPHS:
                assert (entry["status"], entry["reason"]) == ("skipped", "CUDA graphs need a GPU")
                continue
            assert entry["status"] == "ok", entry
            assert entry["max_error"] < 5e-5
            assert len(entry["times_ms"]) == 2
            low, high = entry["quartiles_ms"]
            assert low <= entry["median_ms"] <= high
            assert entry["gflops"] == pytest.approx(case["flop"] / entry["median_ms"] / 1e6)
            peak = 1e3 * result["ceilings"]["matmul_tflops"][case["precision"]]
            assert entry["share_of_peak"] == pytest.approx(entry["gflops"] / peak)
            assert entry["share_of_floor"] == pytest.approx(case["floor_ms"] / entry["median_ms"])
            assert entry["ratio_to_fused"] == pytest.approx(
                entry["median_ms"] / entry["fused_median_ms"]
            )

    capsys.readouterr()
    assert report.main([str(tmp_path / "result.json")]) == 0
    first, second, last = capsys.readouterr().out.strip().split("\n\n")
    lines = first.splitlines()
    assert lines[0] == "| 24x16, float32, TF32 off, ms (ratio) | 9-1-5 | 9-3-5 |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| srcnn_fused",
        "| PyTorch eager (cuDNN)",
        "| eager, channels_last",
        "| srcnn_fused, kernel fma",
        "| torch.compile, max-autotune",
        "| the same without CUDA graphs",
    ]
    rows = [line.split(" | ")[0] for line in second.splitlines()[2:]]
    assert rows == [
        "| 24x16, float32, TF32 off",
        "| 24x16, float32, TF32 on",
        "| 2 x 16x8, float32, TF32 off",
        "| 24x16 from 12x8, float32, TF32 off",
        "| 2 x 16x8, float32, TF32 on",
        "| 24x16 from 12x8, float32, TF32 on",
    ]
    assert last.startswith("no GPU, median of 2 interleaved rounds, PyTorch ")


def test_what_there_is_no_time_for_is_skipped_with_the_reason(tmp_path):
    status, result = run(
        tmp_path, "--shape", "16x8", "--network", "9-1-5", "--precision", "float32", "--budget", "1"
    )
    assert status == 0
    (case,) = result["cases"]
    assert set(by_name(case)) == set(ALL)
    for entry in case["contenders"]:
        assert (entry["status"], entry["reason"]) == ("skipped", "out of time")


def test_a_budget_goes_by_what_a_thing_took_the_last_time():
    budget = Budget(100.0)
    assert budget.allows("slow", 50.0)
    assert not budget.allows("slow", 50.0, reserve=60.0)
    budget.note("slow", 101.0)
    assert not budget.allows("slow", 50.0)
    assert budget.allows("other", 50.0)
    budget.note("slow", 10.0)
    assert budget.allows("slow", 200.0)


def test_tables_compare_each_at_its_fastest():
    def entry(name, ms, ratio, fused, floor):
        return {"name": name, "status": "ok", "median_ms": ms, "ratio_to_fused": ratio,
                "fused_median_ms": fused, "share_of_floor": floor}  # fmt: skip

    contenders = [
        entry("fused", 2.0, 1.0, 2.0, 0.25),
        entry("fused_graph", 1.0, 0.5, 2.0, 0.5),
        entry("eager", 5.0, 2.5, 2.0, 0.1),
        entry("fused:fma", 0.1, 0.05, 2.0, 5.0),
        entry("compile_max", 6.0, 2.0, 3.0, 0.08),  # timed later, beside a fused op of 3 ms
        {"name": "eager_graph", "status": "failed", "reason": "no luck"},
    ]
    cell = gpu_report.fused_cell({"contenders": contenders})
    assert cell == "1.00, 4.0x (50 %)"
    assert gpu_report.fused_cell({"contenders": contenders[2:3]}) == ""
    assert gpu_report.fused_cell(None) == ""


def test_troubles_are_results_and_ours_alone_decide_the_exit_status(tmp_path, monkeypatch, capsys):
    def out_of_memory(setup):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB\nmore lines")

    def broken(setup):
        raise ValueError("no luck")

    shape = ("--shape", "16x8", "--network", "9-1-5", "--precision", "bfloat16")
    monkeypatch.setitem(CONTENDERS, "channels_last", Contender(out_of_memory))
    monkeypatch.setitem(CONTENDERS, "eager_graph", Contender(broken))
    monkeypatch.setitem(
        CONTENDERS, "channels_last_graph", Contender(lambda setup: torch.zeros_like)
    )
    peers = ("eager", "channels_last", "eager_graph", "channels_last_graph")
    status, result = run(tmp_path, *shape, "--peers", *peers)
    assert status == 0, "a peer's trouble is not ours"
    entries = by_name(result["cases"][0])
    assert [entries[name]["status"] for name in peers] == ["ok", "out of memory", "failed", "wrong"]
    assert entries["channels_last"]["reason"].endswith(
        "CUDA out of memory. Tried to allocate 1 TiB"
    )
    assert entries["eager_graph"]["reason"] == "ValueError: no luck"
    assert "times_ms" not in entries["channels_last_graph"], "wrong output must not be timed"
    assert "eager_graph failed (ValueError: no luck)" in capsys.readouterr().out

    monkeypatch.setitem(CONTENDERS, "fused", Contender(lambda setup: torch.zeros_like))
    assert run(tmp_path, *shape, "--peers", "fused", "eager")[0] == 1
    monkeypatch.setitem(CONTENDERS, "fused", Contender(broken))
    assert run(tmp_path, *shape, "--peers", "fused", "eager")[0] == 1


def test_a_forced_kernel_is_forced_during_its_calls_only(tmp_path, monkeypatch):
    seen = {"eager": set(), "forced": set()}

    def spy(name):
        def make_forward(setup):
            def forward(x):
                seen[name].add(os.environ.get(KERNEL_VARIABLE))
                return setup.network(x)

            return forward

        return make_forward

    monkeypatch.delenv(KERNEL_VARIABLE, raising=False)
    monkeypatch.setitem(CONTENDERS, "eager", Contender(spy("eager")))
    monkeypatch.setattr("bench.gpu.peers.peers.fused", spy("forced"))
    status, result = run(
        tmp_path, "--shape", "16x8", "--network", "9-1-5", "--precision", "float32",
        "--peers", "eager", "--kernels", "mma",
    )  # fmt: skip
    assert status == 0
    assert seen == {"eager": {None}, "forced": {"mma"}}
    assert by_name(result["cases"][0])["fused:mma"]["status"] == "ok"


def test_a_lost_gpu_ends_the_run_and_keeps_what_was_measured(tmp_path, monkeypatch, capsys):
    works = iter([True, False])
    monkeypatch.setattr(HostDevice, "works", lambda self: next(works))
    status, result = run(
        tmp_path, "--shape", "16x8", "24x8", "32x8", "--network", "9-1-5", "--precision", "float32",
        "--peers", "eager",
    )  # fmt: skip
    assert status == 1
    assert result["lost"] == "the GPU is lost to this process after 9-1-5, 24x8, float32"
    assert [case["size"] for case in result["cases"]] == [[16, 8], [24, 8]]
    assert result["cases"][0]["contenders"][0]["status"] == "ok"
    assert "the GPU is lost" in capsys.readouterr().err


def test_outputs_keep_to_the_images_range_so_that_tolerances_mean_something():
    for network in ("9-1-5", "9-3-5", "9-5-5"):
        (case,) = plan([Shape(1, 48, 32)], [network], ["float32"], 1)
        output = float64_output(case.case)
        assert 0.1 < output.std() < 1, network
        assert output.abs().max() < 4, network


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS.keys())
def test_references_are_of_the_rounded_network_and_image(precision):
    case = GpuCase(plan([Shape(2, 30, 20, 2)], ["9-1-5"], ["float32"], 3)[0].case, precision)
    device = torch.device("cpu")
    network = case.make_network(device)
    inputs = case.make_inputs(device, 100_000)
    assert len(inputs) >= 2
    assert sum(x.nbytes for x in inputs) > 100_000
    assert {(tuple(x.shape), x.dtype) for x in inputs} == {((2, 3, 10, 15), precision.dtype)}
    checker = case.make_reference(network, inputs[0])
    exact = reference.srcnn(
        inputs[0].double(), *(p.double() for p in network.parameters()), scale=2, bicubic="torch"
    )
    assert checker.max_error(exact) < 1e-12
    assert case.bytes == (2 * 3 * 30 * 20 + 2 * 3 * 15 * 10) * precision.dtype.itemsize


def test_the_floor_is_the_larger_of_products_and_bytes():
    (case,) = plan([Shape(1, 100, 100)], ["9-1-5"], ["float16"], 1)
    ceilings = {"matmul_tflops": {"float16": 1.0}, "copy_gb_per_s": 1e3}
    assert case.floor_ms(ceilings) == pytest.approx(2 * 8032 * 1e4 / 1e12 * 1e3)
    ceilings = {"matmul_tflops": {"float16": 1e6}, "copy_gb_per_s": 1.0}
    assert case.floor_ms(ceilings) == pytest.approx(2 * 1e4 * 2 / 1e9 * 1e3)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1920x1080", Shape(1, 1920, 1080)),
        ("64x256x128", Shape(64, 256, 128)),
        ("1920x1080/3", Shape(1, 1920, 1080, 3)),
    ],
)
def test_shapes_are_parsed(text, shape):
    assert parse_shape(text) == shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--shape", "16"],
            "must be [BATCHx]WIDTHxHEIGHT[/SCALE], such as 64x256x256 or 1920x1080/3, got '16'",
        ),
        (
            ["--shape", "0x16"],
            "must be [BATCHx]WIDTHxHEIGHT[/SCALE], such as 64x256x256 or 1920x1080/3, got '0x16'",
        ),
        (["--shape", "16x8/3"], "size must be a multiple of the scale 3, got 16x8"),
        (["--rounds", "0"], "argument --rounds: must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        program.main(["--device", "cpu", *arguments])
    assert capsys.readouterr().err.rstrip().endswith(message)


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        program.main([])
    assert "there is no CUDA GPU that this PyTorch can use" in capsys.readouterr().err


def test_one_channel_is_put_into_channels_last_by_its_strides():
    x = torch.rand(2, 1, 4, 6)
    got = as_channels_last(x)
    assert torch.equal(got, x)
    assert got.stride() == (24, 1, 6, 1)
    assert torch.nn.functional.conv2d(got, torch.rand(8, 1, 3, 3)).is_contiguous(
        memory_format=torch.channels_last
    )
    assert not math.isnan(got.sum())
