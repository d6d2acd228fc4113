"""The benchmarks measure what they say: right outputs, a memory probe that sees, whole results."""

import json
import sys
from pathlib import Path

import pytest
import torch

from srcnn_fused import reference
from srcnn_fused.benchmark import measure, peers, results
from srcnn_fused.benchmark.cases import Case, Reference, WrongOutput
from srcnn_fused.benchmark.peers import CONTENDERS, Setup, Unavailable

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import compare, memory, report


@pytest.fixture(autouse=True)
def keep_thread_count():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def build_or_skip(name, case):
    network, x = case.make_network(), case.make_input()
    try:
        return CONTENDERS[name](Setup(network, x, case.scale, 2)), x
    except Unavailable as error:
        pytest.skip(str(error))


def float64_output(case):
    parameters = [p.double() for p in case.make_network().parameters()]
    x = case.make_input().double()
    return reference.srcnn(x, *parameters, scale=case.scale, bicubic="torch")


CASES = {
    "enlarged": Case("9-1-5", 40, 24),
    "x3": Case("9-3-5", 39, 24, scale=3),
    "colour": Case("9-5-5", 40, 24, channels=3, scale=2),
}
SLOW = ("compile", "compile_frozen")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("name", [name for name in CONTENDERS if name not in SLOW])
def test_contenders_give_the_networks_output(name, case):
    forward, x = build_or_skip(name, case)
    first = forward(x)
    assert first.is_contiguous()
    kept = first.clone()
    assert (first - float64_output(case)).abs().max() < 1e-5
    forward(1 - x)
    assert torch.equal(first, kept), "a later call overwrote an earlier output"
    assert torch.equal(x, case.make_input()), "the input was changed"


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_compiled_contenders_give_the_networks_output(name):
    case = CASES["colour"]
    forward, x = build_or_skip(name, case)
    assert forward(x).is_contiguous()
    assert (forward(x) - float64_output(case)).abs().max() < 1e-5


def test_a_missing_package_is_a_reason_to_skip(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    case = CASES["enlarged"]
    setup = Setup(case.make_network(), case.make_input(), None, 1)
    with pytest.raises(Unavailable, match="onnxruntime"):
        peers.onnxruntime(setup)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "nine tiles"])
@pytest.mark.parametrize("scale", [None, 3])
def test_tiled_reference_equals_the_untiled_one(monkeypatch, whole, scale):
    monkeypatch.setattr("srcnn_fused.benchmark.cases._TILE", 19)
    monkeypatch.setattr("srcnn_fused.benchmark.cases._CHECK_WHOLE_UP_TO", 1 << 20 if whole else 0)
    case = Case("9-5-5", 66, 60, scale=scale)
    tiled = Reference(case, case.make_network(), case.make_input())
    want = float64_output(case)
    assert tiled.max_error(want) < 1e-12
    for row, column in ((0, 0), (59, 65), (29, 33)):
        wrong = want.clone()
        wrong[0, 0, row, column] += 1e-4
        with pytest.raises(WrongOutput, match=r"differs from float64 by 1.0e-04"):
            tiled.max_error(wrong)


def test_reference_refuses_nan_and_wrong_shapes():
    case = CASES["enlarged"]
    checker = Reference(case, case.make_network(), case.make_input())
    want = float64_output(case)
    with pytest.raises(WrongOutput, match=r"the output is \[1, 1, 23, 40\], not \[1, 1, 24, 40\]"):
        checker.max_error(want[:, :, 1:])
    want[0, 0, 5, 5] = torch.nan
    with pytest.raises(WrongOutput, match="differs from float64 by inf"):
        checker.max_error(want)


def test_operations_are_those_of_the_direct_convolutions():
    assert Case("9-1-5", 10, 10).flop == 2 * 8032 * 100
    assert Case("9-3-5", 10, 10).flop == 2 * 24416 * 100
    assert Case("9-5-5", 10, 10).flop == 2 * 57184 * 100


def test_compare_writes_whole_results(tmp_path, capsys, monkeypatch):
    def broken(setup):
        raise RuntimeError("no luck\nat all")

    monkeypatch.setitem(CONTENDERS, "openvino", broken)
    monkeypatch.setitem(CONTENDERS, "compile", lambda setup: torch.zeros_like)
    path = tmp_path / "results" / "here.json"
    names = ["eager", "channels_last", "openvino", "compile"]
    arguments = ["--size", "36x24", "--scale", "2", "--threads", "1", "--rounds", "3"]
    status = compare.main([*arguments, "--peers", *names, "--json", str(path)])
    assert status == 1, "a failed contender must show in the exit status"
    assert "openvino failed: RuntimeError: no luck\n" in capsys.readouterr().out

    result = json.loads(path.read_text())
    assert (result["schema"], result["kind"]) == (results.SCHEMA, "inference")
    assert result["settings"] == {"threads": 1, "rounds": 3, "dtype": "float32"}
    assert result["machine"]["versions"]["torch"] == torch.__version__
    for key in ("date", "cpu", "cpu_count", "isa", "load_average", "load_average_after", "thp"):
        assert key in result["machine"]
    (case,) = result["cases"]
    assert case["size"] == [36, 24]
    assert case["flop"] == Case("9-1-5", 36, 24).flop
    entries = {entry["name"]: entry for entry in case["contenders"]}
    assert list(entries) == names
    for name in ("eager", "channels_last"):
        entry = entries[name]
        assert entry["status"] == "ok"
        assert entry["max_error"] < 1e-5
        assert len(entry["times_ms"]) == 3
        low, high = entry["quartiles_ms"]
        assert min(entry["times_ms"]) <= low <= entry["median_ms"] <= high
        assert entry["gflops"] == pytest.approx(case["flop"] / entry["median_ms"] / 1e6)
    assert entries["openvino"]["status"] == "failed"
    assert entries["compile"]["status"] == "wrong"
    assert "times_ms" not in entries["compile"], "wrong output must not be timed"

    assert report.main([str(path)]) == 0
    table = capsys.readouterr().out
    assert table.startswith(
        "| 36x24 from 18x12, ms (ratio) | 9-1-5 |\n|---|---|\n| PyTorch eager |"
    )


def test_ratios_are_to_the_fused_op():
    case = CASES["enlarged"]
    entries = [{"name": name, "status": "ok"} for name in ("fused", "eager")]
    measure.summarise(case, entries, {"fused": [1.0, 2.0, 3.0], "eager": [7.0, 5.0, 6.0]})
    assert entries[1]["ratio_to_fused"] == 3
    assert entries[1]["median_ms"] == 6000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "960"], "argument --size: must be WIDTHxHEIGHT, such as 960x540, got '960'"),
        (["--size", "35x24", "--scale", "2"], "size must be a multiple of the scale 2, got 35x24"),
        (["--scale", "0"], "scale must be a positive integer, got 0"),
        (["--threads", "0"], "argument --threads: must be at least 1, got 0"),
        (["--rounds", "0"], "argument --rounds: must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        compare.main(arguments)
    assert capsys.readouterr().err.rstrip().endswith(f"error: {message}")


def test_peak_memory_sees_what_was_freed_again():
    peak = memory.PeakMemory()
    if peak.method != "VmHWM":
        pytest.skip("this system cannot reset the peak of resident memory")
    before = peak.growth()
    torch.ones(64 << 20, dtype=torch.uint8)
    assert (64 << 20) * 0.95 < peak.growth() < (64 << 20) * 1.1 + before
    assert memory.PeakMemory().growth() < 8 << 20, "a new probe starts from now"


def test_memory_of_eager_and_of_one_that_has_too_little():
    case = Case("9-1-5", 1024, 512)
    entry = memory.measure(case, "eager", 1, None)
    assert entry["status"] == "ok", entry
    features = 64 * 4 * case.width * case.height  # F1 alone
    assert features < entry["extra_bytes"] < 4 * features
    entry = memory.measure(case, "eager", 1, 64 << 20)
    assert entry["status"] == "out of memory", entry


def test_memory_of_the_fused_op_is_small():
    if (reason := peers._extension.why_unavailable()) is not None:
        pytest.skip(reason)
    entry = memory.measure(Case("9-1-5", 1920, 1080), "fused", 2, None)
    assert entry["status"] == "ok", entry
    assert entry["extra_bytes"] < 64 << 20


class SpinningThreads:
    """Stands in for `time`, in a process whose threads run until `stop`."""

    def __init__(self, stop):
        self.now, self.used, self.stop = 0.0, 0.0, stop

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.used

    def sleep(self, seconds):
        self.used += 2 * max(0.0, min(self.stop, self.now + seconds) - self.now)
        self.now += seconds


@pytest.mark.parametrize("stop", [0.0, 0.001, 0.03, 0.11])
def test_a_turn_begins_when_threads_of_the_turn_before_have_stopped_spinning(monkeypatch, stop):
    clock = SpinningThreads(stop)
    monkeypatch.setattr(measure, "time", clock)
    began = []
    measure.take_turn(lambda: (began.append(clock.now), clock.sleep(0.03)))
    assert stop < began[0] <= stop + 0.03


def test_threads_that_never_stop_are_not_waited_for_without_end(monkeypatch):
    clock = SpinningThreads(float("inf"))
    monkeypatch.setattr(measure, "time", clock)
    measure._wait_for_rest()
    assert 0.4 < clock.now < 0.6
