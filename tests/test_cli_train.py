"""`srcnn-fused train`, as it is typed, and as it is killed."""

import inspect
import os
import signal
import subprocess
import sys
import time
from dataclasses import MISSING, fields

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from srcnn_fused import pretrained
from srcnn_fused.cli import app
from srcnn_fused.cli.train import train as command
from srcnn_fused.training.checkpoint import load_checkpoint
from srcnn_fused.training.config import TrainConfig


@pytest.fixture
def run():
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    return lambda *words: runner.invoke(app, ["train", *map(str, words)])


@pytest.fixture
def recipe(tmp_path):
    """Flags of a short run on two folders of noise."""
    random = np.random.default_rng(0)
    for folder in ("one", "two", "val"):
        (tmp_path / folder).mkdir()
        image = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        image.resize((48, 48), Image.Resampling.BICUBIC).save(tmp_path / folder / f"{folder}.png")
    return (
        *("--data", tmp_path / "one", tmp_path / "two", "--val", tmp_path / "val"),
        *("-s", 2, "--batch", 2, "--crop", 8, "--validate-every", 10, "--checkpoint-every", 10),
    )


def start(*words):
    """The command in a process of its own, one thread: what can be killed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = "from srcnn_fused.cli import main; main()"
    command = [sys.executable, "-c", code, "train", *map(str, words)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tensors(folder):
    return pretrained.load(folder / "9-1-5-x2.safetensors")[0]


def assert_same_result(a, b):
    first, second = tensors(a), tensors(b)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (a / "history.csv").read_text() == (b / "history.csv").read_text()


def test_the_flags_defaults_are_the_recipes():
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(command).parameters.items()
    }
    for item in fields(TrainConfig):
        expected = None if item.default is MISSING else item.default
        assert defaults[item.name] == expected, item.name


def test_a_run_trains_on_all_folders_and_reports(run, recipe, tmp_path):
    result = run(*recipe, "--iterations", 10, "--out", tmp_path / "out", "--lr", 2e-4)
    assert result.exit_code == 0, result.output
    assert "9-1-5-x2: 2 training images, 0.0 megapixels; 1 for validation" in result.stderr
    assert "iteration 10  loss " in result.stderr
    assert f"{tmp_path / 'out' / '9-1-5-x2.safetensors'}: " in result.stdout
    assert result.stdout.rstrip().endswith("dB on val")
    config = load_checkpoint(tmp_path / "out" / "checkpoint.pt").config
    assert config.data == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert config.lr == 2e-4
    assert config.lr_last == TrainConfig.lr_last


def test_data_may_also_be_repeated(run, recipe, tmp_path):
    words = ("--data", tmp_path / "one", "--data", tmp_path / "two", *recipe[3:])
    result = run(*words, "--iterations", 1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    config = load_checkpoint(tmp_path / "out" / "checkpoint.pt").config
    assert config.data == (str(tmp_path / "one"), str(tmp_path / "two"))


def test_ctrl_c_saves_and_exits_130_and_resume_goes_on_exactly(recipe, tmp_path):
    recipe = (*recipe, "--iterations", 400)
    process = start(*recipe, "--out", tmp_path / "out")
    wait_for(tmp_path / "out" / "checkpoint.pt", process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "saved" in stderr
    assert "--resume" in stderr
    assert 0 < load_checkpoint(tmp_path / "out" / "checkpoint.pt").iteration < 400

    # The recipe is in the checkpoint: it need not be repeated.
    for words in (("--out", tmp_path / "out", "--resume"), (*recipe, "--out", tmp_path / "whole")):
        process = start(*words)
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert "going on after" not in stderr
    assert_same_result(tmp_path / "out", tmp_path / "whole")


def test_a_killed_run_resumes_exactly(recipe, tmp_path):
    """kill -9 between two checkpoints, with everything that a step can carry over to the next."""
    recipe = (*recipe, "--iterations", 120, "--ema", 0.95, "--warmup", 30, "--accumulate", 2)
    process = start(*recipe, "--out", tmp_path / "out")
    wait_for(tmp_path / "out" / "history.csv", process)
    time.sleep(0.3)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    reached = load_checkpoint(tmp_path / "out" / "checkpoint.pt").iteration
    assert 0 < reached < 120

    for words in (("--out", tmp_path / "out", "--resume"), (*recipe, "--out", tmp_path / "whole")):
        process = start(*words)
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert_same_result(tmp_path / "out", tmp_path / "whole")
    resumed, whole = (load_checkpoint(tmp_path / n / "checkpoint.pt") for n in ("out", "whole"))
    for state in ("model", "average"):
        expected = getattr(whole, state)
        assert all(torch.equal(getattr(resumed, state)[key], expected[key]) for key in expected)
    assert torch.equal(resumed.generator, whole.generator)


def test_a_run_is_not_overwritten_unasked(run, recipe, tmp_path):
    words = (*recipe, "--iterations", 1, "--out", tmp_path / "out")
    assert run(*words).exit_code == 0
    before = (tmp_path / "out" / "checkpoint.pt").read_bytes()
    result = run(*words)
    assert result.exit_code == 1
    assert "holds a run already" in result.stderr
    assert (tmp_path / "out" / "checkpoint.pt").read_bytes() == before
    assert run(*words, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--out must name the folder of the run"),
        (("--out", "o"), "--data must be given"),
        (("--out", "o", "--data", "one"), "--val must be given"),
        (("--out", "o", "--data", "one", "--val", "val"), "--scale must be given"),
        (("--out", "o", "--resume"), "there is no run to resume: o/checkpoint.pt does not exist"),
        (
            ("--out", "o", "--resume", "--overwrite"),
            "--resume and --overwrite contradict each other",
        ),
        (
            ("--out", "o", "--data", "gone", "--val", "val", "-s", "2"),
            "gone does not exist: a folder of images is needed",
        ),
        (
            ("--out", "o", "--data", "one", "--val", "val", "-s", "2", "--seed", str(2**63)),
            f"--seed must be at most {2**63 - 1}, got {2**63}",
        ),
        (
            ("--out", "o", "--data", "one", "--val", "val", "-s", "2", "--seed", "-1"),
            "--seed must be at least 0, got -1",
        ),
        (
            ("--out", "o", "--data", "one", "--val", "val", "-s", "2", "--batch", "100000000"),
            "--batch must be at most 65536, got 100000000",
        ),
        (
            ("--out", "o", "--data", "one", "--val", "val", "-s", "1000"),
            "--scale must be at most 64, got 1000",
        ),
        (
            ("--out", "o", "--data", "one", "--val", "val", "-s", "2", "--network", "9-99999-5"),
            "--network: kernel sizes go up to 99, got '9-99999-5'",
        ),
        (
            ("--out", "val/val.png", "--data", "one", "--val", "val", "-s", "2"),
            "--out val/val.png cannot be used",
        ),
    ],
)
def test_mistakes_are_one_line_and_status_1(run, recipe, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert lines[0].startswith("srcnn-fused: error: ")
    assert not (tmp_path / "o").exists() or "gone" in words  # found before the run's folder is made
