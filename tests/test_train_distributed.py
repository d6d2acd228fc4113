"""Training in two processes that torchrun starts: the same result, one voice, one writer."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from training_data import Recorder, short_recipe

from srcnn_fused.errors import UserError
from srcnn_fused.train import Stopped, train
from srcnn_fused.training import distributed
from srcnn_fused.training.checkpoint import load_checkpoint

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed")


@pytest.fixture
def config(tmp_path):
    config = short_recipe(tmp_path)
    # An odd batch: the processes' shares differ.
    return replace(config, batch=5, accumulate=2, ema=0.9, iterations=8, validate_every=4)


def torchrun(folder, *words):
    """`srcnn-fused train` in two processes."""
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = [sys.executable, "-m", *launcher, "-m", "srcnn_fused", "train", *map(str, words)]
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes_go_on_as_one_does(config, tmp_path):
    train(replace(config, out=str(tmp_path / "straight")))
    recorder = Recorder()
    with pytest.raises(Stopped):
        train(config, monitor=recorder, should_stop=lambda: len(recorder.steps) == 3)
    result = torchrun(tmp_path, "--out", tmp_path / "run", "--resume")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("dB on val") == 1  # the first process alone speaks
    assert result.stderr.count("iteration 8 ") == 1
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["9-1-5-x2.safetensors", "checkpoint.pt", "history.csv"]

    one, two = (load_checkpoint(tmp_path / n / "checkpoint.pt") for n in ("straight", "run"))
    assert torch.equal(one.generator, two.generator)
    for state in ("model", "average"):
        for key, expected in getattr(one, state).items():
            torch.testing.assert_close(getattr(two, state)[key], expected, atol=1e-5, rtol=1e-4)
    losses = [[loss for _, loss, _ in run.history[1:]] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_what_fails_in_one_process_ends_all_and_is_said_once(config, tmp_path):
    (tmp_path / "taken").write_text("a file, where the first process makes the folder of the run")
    words = ("--data", *config.data, "--val", config.val, "-s", 2, "--out", tmp_path / "taken")
    result = torchrun(tmp_path, *words)
    assert result.returncode != 0
    assert result.stderr.count("srcnn-fused: error: ") == 1
    assert f"error: --out {tmp_path / 'taken'} cannot be used" in result.stderr
    assert "/srcnn_fused/" not in result.stderr  # no process shows a traceback


def test_what_fails_in_every_process_is_said_by_the_first(config, monkeypatch):
    waited = []
    monkeypatch.setattr(distributed.time, "sleep", waited.append)
    broken = replace(config, batch=0)
    for rank, ending in ((0, UserError), (1, SystemExit)):
        for name in distributed._LAUNCH:
            monkeypatch.setenv(name, "2" if "SIZE" in name else str(rank))
        with pytest.raises(ending):
            train(broken)
    assert len(waited) == 1  # the second process leaves the first one time to speak


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_processes_share_every_crop_once(size):
    crops = list(range(5))
    team = [distributed.Workers(rank, size, torch.device("cpu")) for rank in range(size)]
    shares = [crops[worker.share(5)] for worker in team]
    assert [crop for share in shares for crop in share] == crops
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
