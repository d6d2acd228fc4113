"""`srcnn-fused bench`: what it measures, writes and refuses, and how it sees others at work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from srcnn_fused import cli
from srcnn_fused.benchmark import machine, tables
from srcnn_fused.benchmark.peers import CONTENDERS, Unavailable

runner = CliRunner()
SMALL = ["--network", "9-1-5", "--size", "24x16", "--rounds", "2"]


@pytest.fixture(autouse=True)
def keep_thread_count():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def bench(*arguments):
    return runner.invoke(cli.app, ["bench", *arguments], env={"COLUMNS": "200"})


@pytest.mark.usefixtures("extension")
def test_it_shows_and_writes_what_was_measured(tmp_path):
    path = tmp_path / "result.json"
    arguments = [*SMALL, "--peer", "eager", "--peer", "channels_last", "--threads", "1"]
    done = bench(*arguments, "--json", str(path))
    assert done.exit_code == 0, done.output
    assert "9-1-5, 24x16" in done.output
    assert "PyTorch eager" in done.output
    assert "1 thread, float32, median of 2 interleaved rounds" in done.output

    result = json.loads(path.read_text())
    assert result["kind"] == "inference"
    assert result["settings"] == {"threads": 1, "rounds": 2, "dtype": "float32"}
    assert {"isa", "load_average", "others_share", "versions"} <= set(result["machine"])
    (case,) = result["cases"]
    assert [entry["name"] for entry in case["contenders"]] == ["fused", "eager", "channels_last"]
    for entry in case["contenders"]:
        assert entry["max_error"] < 1e-5
        assert len(entry["times_ms"]) == 2
        assert entry["ratio_to_fused"] > 0

    before = path.read_text()
    done = bench(*arguments, "--json", str(path))
    assert done.exit_code == 1
    assert f"error: --json {path}: exists already; --overwrite replaces it" in done.output
    assert path.read_text() == before
    assert bench(*arguments, "--json", str(path), "--overwrite").exit_code == 0
    assert path.read_text() != before
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_wrong_peer_is_not_timed_and_a_missing_one_is_named(monkeypatch, tmp_path):
    def missing(setup):
        raise Unavailable("No module named 'openvino' (pip install '.[bench]' brings it)")

    monkeypatch.setitem(CONTENDERS, "eager", lambda setup: torch.zeros_like)
    monkeypatch.setitem(CONTENDERS, "openvino", missing)
    path = tmp_path / "result.json"
    done = bench(*SMALL, "--peer", "eager", "--peer", "openvino", "--json", str(path))
    assert done.exit_code == 1
    assert "eager wrong: the output differs from float64 by" in done.output
    assert "openvino skipped: No module named 'openvino' (pip install '.[bench]'" in done.output
    _, wrong, skipped = json.loads(path.read_text())["cases"][0]["contenders"]
    assert (wrong["status"], skipped["status"]) == ("wrong", "skipped")
    assert "times_ms" not in wrong


@pytest.mark.usefixtures("extension")
def test_bfloat16_is_held_against_its_own_rounded_weights(tmp_path):
    path = tmp_path / "result.json"
    done = bench(*SMALL, "--dtype", "bfloat16", "--peer", "eager", "--json", str(path))
    assert done.exit_code == 0, done.output
    fused, eager = json.loads(path.read_text())["cases"][0]["contenders"]
    assert eager["status"] == "ok"
    assert 1e-5 < eager["max_error"] < 2e-2, "bfloat16 has errors of its own, and only those"
    assert fused["status"] in ("ok", "skipped"), fused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "24"], "--size must be WIDTHxHEIGHT, such as 960x540, got '24'"),
        (["--network", "9-9-9"], "--network must be one of 9-1-5, 9-3-5, 9-5-5, got '9-9-9'"),
        (["--dtype", "int8"], "--dtype must be one of float32, bfloat16, got 'int8'"),
        (["--peer", "cudnn"], "--peer must be one of eager, channels_last, compile,"),
        (["--json", "/nonexistent/x.json"], "the folder /nonexistent does not exist"),
    ],
)
def test_bad_options_are_one_line(arguments, message):
    done = bench(*arguments)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.splitlines()) == 1


def test_others_share_counts_what_is_busy_and_not_this_process(monkeypatch):
    # On the clock, busy processors, this process: 2 s of 2 processors, of which others took 2.
    moments = iter([(0.0, 100.0, 7.0), (2.0, 103.0, 8.0)])
    monkeypatch.setattr(machine.OtherWork, "_now", staticmethod(lambda: next(moments)))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    assert machine.OtherWork().share() == 0.5


def test_others_share_reads_this_system():
    others = machine.OtherWork()
    sum(range(1_000_000))
    share = others.share()
    assert share is None or 0 <= share <= 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("awaited", [False, True])
def test_the_time_of_processes_that_this_one_started_is_its_own(awaited):
    burn = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
    before = machine._family_ticks(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", burn + "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()  # it has burnt its time, and lives
        if awaited:
            child.communicate(b"\n")
        spent = machine._family_ticks(os.getpid()) - before
        if not awaited:
            child.communicate(b"\n")
    assert spent >= 0.4 * os.sysconf("SC_CLK_TCK") - 2


@pytest.mark.parametrize(
    ("load", "share", "warning"),
    [
        (3.0, 0.01, None),  # a build just ended: the load average lags, the share does not
        (0.1, 0.5, "others took 50% of the processors during the run: do not publish"),
        (3.0, None, "load average 3.0 before the run: others were at work, do not publish"),
        (0.3, None, None),
    ],
)
def test_a_busy_machine_is_warned_of(load, share, warning):
    described = {"cpu_count": 2, "load_average": [load, 0, 0], "others_share": share}
    assert tables.busy_warning({"machine": described}) == warning
