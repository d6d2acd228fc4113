"""The GPU benchmark of training steps, run on the CPU in the GPU's place."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import report, training
from bench.gpu import train as program
from bench.gpu import training as gpu_training
from bench.gpu.cases import PRECISIONS
from bench.gpu.device import HostDevice
from bench.gpu.peers import KERNEL_VARIABLE
from bench.gpu.training import CONTENDERS, LOSS_SCALE, Contender, GpuStep, begin_step
from srcnn_fused.benchmark.cases import WrongOutput

pytestmark = pytest.mark.usefixtures("extension", "one_thread", "switches")

PEERS = ["fused", "eager", "channels_last", "compile"]
CPU = torch.device("cpu")
# Measured on the CPU, all contenders: 8.2e-7 and 0.029. The benchmark itself allows 1e-3 and 0.05.
LARGEST_ERRORS = {"float32": 5e-6, "bfloat16": 0.04}


def run(tmp_path, *arguments):
    path = tmp_path / "result.json"
    status = program.main(["--device", "cpu", "--rounds", "2", *arguments, "--json", str(path)])
    return status, json.loads(path.read_text())


def by_name(case):
    return {entry["name"]: entry for entry in case["contenders"]}


def step(precision, network="9-1-5", batch=2, side=12):
    return GpuStep(training.TrainingCase(network, batch, side), PRECISIONS[precision])


def test_a_run_measures_every_case_and_writes_tables(tmp_path, capsys, monkeypatch):
    # Compiling takes minutes; what is run then is not what this is about.
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)
    networks, precisions = ["9-1-5", "9-3-5"], ["float32", "bfloat16"]
    status, result = run(
        tmp_path, "--batch", "2x16", "3x9", "--network", *networks, "--precision", *precisions
    )
    assert status == 0, capsys.readouterr()
    assert (result["kind"], result["lost"]) == ("gpu-training", None)
    assert set(result["ceilings"]["matmul_tflops"]) == set(precisions)
    order = [(c["batch"], c["size"], c["precision"], c["network"]) for c in result["cases"]]
    assert order == [
        (batch, [side, side], precision, network)
        for batch, side in ((2, 16), (3, 9))
        for precision in precisions
        for network in networks
    ]
    for number, case in enumerate(result["cases"]):
        entries = by_name(case)
        assert list(entries) == PEERS[: 4 if number < 4 else 3]  # torch.compile: the first batch
        for entry in entries.values():
            assert entry["status"] == "ok", entry
            assert 0 < entry["max_error"] < LARGEST_ERRORS[case["precision"]]
            assert len(entry["times_ms"]) == 2
            assert entry["gflops"] == pytest.approx(case["flop"] / entry["median_ms"] / 1e6)
            assert entry["share_of_floor"] == pytest.approx(case["floor_ms"] / entry["median_ms"])
            assert entry["ratio_to_fused"] == pytest.approx(
                entry["median_ms"] / entry["fused_median_ms"]
            )

    capsys.readouterr()
    assert report.main([str(tmp_path / "result.json")]) == 0
    first, second, last = capsys.readouterr().out.strip().split("\n\n")
    assert first.splitlines()[0] == "| 2 x 16x16, ms a step (ratio) | 9-1-5 | 9-3-5 |"
    assert second.splitlines()[0] == "| 3 x 9x9, ms a step (ratio) | 9-1-5 | 9-3-5 |"
    rows = [
        f"| {title}, {precision}"
        for precision in ("float32, TF32 off", "bfloat16 autocast")
        for title in ("srcnn_fused", "PyTorch eager (cuDNN)", "eager, channels_last")
    ]
    assert [line.split(" | ")[0] for line in second.splitlines()[2:]] == rows
    compiled = [f"| torch.compile, {p}" for p in ("float32, TF32 off", "bfloat16 autocast")]
    titles = [line.split(" | ")[0] for line in first.splitlines()[2:]]
    assert titles == [*rows[:3], compiled[0], *rows[3:], compiled[1]]
    ms = by_name(result["cases"][0])
    row = first.splitlines()[3]
    assert f"({ms['eager']['ratio_to_fused']:.1f}x)" in row
    assert last.startswith("no GPU, median of 2 interleaved rounds, PyTorch ")


def test_wrong_gradients_are_not_timed_and_ours_alone_decide_the_exit_status(
    tmp_path, monkeypatch, capsys
):
    def faulty(network, try_step):
        torch.nn.init.zeros_(network[0].bias)
        return training.eager(network)

    options = ("--batch", "2x9", "--network", "9-1-5", "--precision", "float32")
    monkeypatch.setitem(CONTENDERS, "eager", Contender(faulty))
    status, result = run(tmp_path, *options, "--peers", "fused", "eager")
    assert status == 0
    (case,) = result["cases"]
    assert by_name(case)["eager"]["status"] == "wrong"
    assert "times_ms" not in by_name(case)["eager"]
    assert by_name(case)["fused"]["status"] == "ok"
    assert "eager wrong (" in capsys.readouterr().out
    monkeypatch.setitem(CONTENDERS, "fused", Contender(faulty))
    assert run(tmp_path, *options, "--peers", "fused")[0] == 1


def test_kernels_are_forced_during_their_own_steps(tmp_path, monkeypatch):
    seen = set()

    def spy(network):
        trained = training.eager(network)

        def forward(x):
            seen.add(os.environ.get(KERNEL_VARIABLE))
            return trained.forward(x)

        return training.Trained(forward, trained.parameters)

    monkeypatch.delenv(KERNEL_VARIABLE, raising=False)
    monkeypatch.setitem(training.CONTENDERS, "fused", spy)
    options = ("--batch", "2x9", "--network", "9-1-5", "--precision", "float32")
    status, result = run(tmp_path, *options, "--peers", "fused", "--kernels", "fma")
    assert status == 0
    assert seen == {None, "fma"}
    assert by_name(result["cases"][0])["fused:fma"]["status"] == "ok"


def test_what_there_is_no_time_for_is_skipped(tmp_path):
    options = ("--batch", "2x9", "--network", "9-1-5", "--precision", "float32", "tf32")
    status, result = run(tmp_path, *options, "--budget", "1")
    assert status == 0
    for case in result["cases"]:
        assert list(by_name(case)) == PEERS
        for entry in case["contenders"]:
            assert (entry["status"], entry["reason"]) == ("skipped", "out of time")


def test_a_lost_gpu_ends_the_run_and_keeps_what_was_measured(tmp_path, monkeypatch, capsys):
    works = iter([True, False])
    monkeypatch.setattr(HostDevice, "works", lambda self: next(works))
    options = ("--network", "9-1-5", "--precision", "float32", "--peers", "eager")
    status, result = run(tmp_path, "--batch", "2x9", "2x10", "2x11", *options)
    assert status == 1
    assert result["lost"] == (
        "the GPU is lost to this process after 9-1-5, 2 of 10x10, float32, TF32 off"
    )
    assert [case["size"] for case in result["cases"]] == [[9, 9], [10, 10]]
    assert "the GPU is lost" in capsys.readouterr().err


@pytest.mark.parametrize("precision", PRECISIONS)
def test_forward_and_backward_run_in_the_precision(precision):
    case = step(precision)
    seen = []

    class Spy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            note()
            return y.clone()

        @staticmethod
        def backward(ctx, grad):
            seen.append(torch.backends.cudnn.allow_tf32)
            return grad

    def note():
        autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
        seen.append((torch.backends.cudnn.allow_tf32, autocast))

    weight = torch.nn.Parameter(torch.ones(()))
    trained = training.Trained(lambda x: Spy.apply(x * weight), [weight])
    with case.precision.active():
        case.step(trained, *case.case.make_images())
    tf32 = precision == "tf32"
    sixteen = case.precision.dtype if "float32" not in precision and not tf32 else False
    assert seen == [(tf32, sixteen), tf32]
    assert not torch.is_autocast_enabled("cpu")


def test_float16_scales_the_loss_and_is_compared_without_the_scale():
    exact, scaled = step("float32"), step("float16")
    images = exact.case.make_images()
    trained = training.build("fused", exact.case)
    loss = exact.step(trained, *images)
    expected = [parameter.grad for parameter in trained.parameters]
    assert torch.equal(scaled.step(trained, *images), loss)
    for parameter, gradient in zip(trained.parameters, expected, strict=True):
        assert torch.equal(parameter.grad, LOSS_SCALE * gradient)
    reference = scaled.make_reference(CPU)
    error = reference.max_error(trained.parameters, scaled.loss_scale)
    assert 1e-6 < error < gpu_training.TOLERANCES["float16"]  # weights and images were rounded
    with pytest.raises(WrongOutput, match="the gradients differ from float64 by"):
        reference.max_error(trained.parameters)


def test_references_are_of_the_rounded_network_and_images():
    case = step("bfloat16").case
    network = case.make_network().bfloat16().double()
    x, target = case.make_images()
    F.mse_loss(network(x.bfloat16().double()), target.double()).backward()
    reference = step("bfloat16").make_reference(CPU)
    assert reference.max_error(list(network.parameters())) < 1e-12


def test_no_earlier_gradients_stand_in_for_those_that_a_contender_leaves_out():
    memory = {}

    def leave_as_it_was(parameter):  # writes once, then finds its memory again, and writes nothing
        memory.setdefault(parameter, parameter.grad)
        parameter.grad = memory[parameter]

    def forgetful(network, try_step):
        for parameter in network.parameters():
            parameter.register_post_accumulate_grad_hook(leave_as_it_was)
        return training.eager(network)

    prepare = begin_step(step("float32"), HostDevice())
    with pytest.raises(WrongOutput, match="differ from float64 by inf"):
        prepare(Contender(forgetful))


@pytest.mark.parametrize("fails", [False, True])
def test_channels_last_from_the_first_layer_on_where_it_can(fails, monkeypatch):
    case = step("float32")
    prepare = begin_step(case, HostDevice())
    layouts = []
    as_channels_last = gpu_training.as_channels_last

    def spy(tensor):
        layouts.append(tuple(tensor.shape))
        if fails and len(layouts) > 3:  # past the three weights: the image
            raise RuntimeError("no such algorithm")
        return as_channels_last(tensor)

    monkeypatch.setattr(gpu_training, "as_channels_last", spy)
    _, entry = prepare(CONTENDERS["channels_last"])
    assert entry["max_error"] < 1e-5
    images = [shape for shape in layouts if shape[0] == 2]
    assert (len(images) == 1) == fails

    def out_of_memory(trained):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.undo()
    with pytest.raises(torch.OutOfMemoryError):
        gpu_training.channels_last(case.case.make_network(), out_of_memory)


def test_images_outgrow_the_cache_and_the_floor_is_the_larger_of_products_and_bytes():
    case = step("float16", batch=2, side=16)
    images = case.make_images(CPU, 100_000)
    assert case.bytes == 2 * 4 * 2 * 16 * 16
    assert len(images) * case.bytes > 100_000
    assert torch.equal(images[0][0], case.case.make_images()[0])
    assert not torch.equal(images[1][0], images[1][1])
    ceilings = {"matmul_tflops": {"float16": 1.0}, "copy_gb_per_s": 1e3}
    assert case.floor_ms(ceilings) == pytest.approx(1e3 * case.case.flop / 1e12)
    ceilings = {"matmul_tflops": {"float16": 1e6}, "copy_gb_per_s": 1.0}
    assert case.floor_ms(ceilings) == pytest.approx(1e3 * case.bytes / 1e9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "16"], "must be BATCHxSIDE, such as 16x33, got '16'"),
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
