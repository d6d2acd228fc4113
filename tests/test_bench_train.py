"""The training benchmark: right steps, wrong gradients that are not timed, whole results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from srcnn_fused.benchmark.cases import WrongOutput

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import train, train_memory, training

pytestmark = pytest.mark.usefixtures("extension")


@pytest.fixture(autouse=True)
def keep_thread_count() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


CASE = training.TrainingCase("9-1-5", 2, 9)


@pytest.mark.parametrize("name", ["fused", "eager", "channels_last"])
def test_every_contender_s_gradients_pass(name: str) -> None:
    contender = training.build(name, CASE)
    contender.step(*CASE.make_images())
    assert training.Reference(CASE).max_error(contender.parameters) <= training.TOLERANCE


def test_a_step_starts_from_fresh_gradients() -> None:
    contender = training.build("fused", CASE)
    images = CASE.make_images()
    contender.step(*images)
    first = [p.grad.clone() for p in contender.parameters if p.grad is not None]
    contender.step(*images)
    for one, parameter in zip(first, contender.parameters, strict=True):
        assert parameter.grad is not None
        assert torch.equal(one, parameter.grad)


def test_flop_counts_three_passes_of_all_layers_but_the_first() -> None:
    per_pixel = 2 * (2 * 81 * 64 + 3 * 64 * 32 + 3 * 25 * 32)
    assert CASE.flop == 2 * 9 * 9 * per_pixel


@pytest.mark.parametrize("fault", ["scaled", "missing", "nan"])
def test_wrong_gradients_are_found(fault: str) -> None:
    contender = training.build("eager", CASE)
    contender.step(*CASE.make_images())
    bias = contender.parameters[3]
    assert bias.grad is not None
    if fault == "missing":
        bias.grad = None
    else:
        bias.grad[5] = torch.nan if fault == "nan" else 1.01 * bias.grad.abs().max()
    with pytest.raises(WrongOutput):
        training.Reference(CASE).max_error(contender.parameters)


def test_a_contender_with_wrong_gradients_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def faulty(network: nn.Sequential) -> training.Trained:
        nn.init.zeros_(network[0].weight)
        return training.eager(network)

    monkeypatch.setitem(training.CONTENDERS, "eager", faulty)
    file = tmp_path / "result.json"
    arguments = ["--batch", "2x9", "--network", "9-1-5", "--rounds", "2", "--threads", "1"]
    status = train.main([*arguments, "--peers", "fused", "eager", "--json", str(file)])
    assert status == 1
    result = json.loads(file.read_text())
    assert result["kind"] == "training"
    (case,) = result["cases"]
    assert (case["batch"], case["size"], case["network"]) == (2, [9, 9], "9-1-5")
    ours, theirs = case["contenders"]
    assert ours["status"] == "ok"
    assert len(ours["times_ms"]) == 2
    assert theirs["status"] == "wrong"
    assert "median_ms" not in theirs


@pytest.mark.parametrize("batch", ["16", "0x33", "16x", "x33", "4x3x3"])
def test_a_bad_batch_is_refused(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--batch", batch])
    assert "must be BATCHxSIDE, such as 16x33" in capsys.readouterr().err


def test_memory_of_a_step_is_measured_in_a_fresh_process() -> None:
    entry = train_memory.measure("9-1-5", "fused", 64, 1)
    assert entry["status"] == "ok"
    assert entry["extra_bytes"] >= 0
