"""scripts/gpu_check.sh, with a Python that only says what a machine with a GPU would."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PYTHON = r"""#!/usr/bin/env bash
printf '%s\n' "$*" | tr '\n' ' ' >>"$CALLS"
echo >>"$CALLS"
case "$*" in
  *get_device_properties*) printf 'a-gpu\n9.0\nA GPU\n' ;;
  *build_info*) echo "13.0 for 9.0a" ;;
  *bench.gpu*) [ -z "${DIES:-}" ] || exit 3
    while [ $# -gt 0 ]; do [ "$1" != --json ] || echo '{}' >"$2"; shift; done ;;
esac
"""


@pytest.fixture
def check(tmp_path):
    """Runs the script in a tree of its own; gives its output and the calls of bench."""
    tree = tmp_path / "tree"
    (tree / "bench" / "results").mkdir(parents=True)
    (tree / "csrc").mkdir()
    shutil.copy(ROOT / "csrc" / "sources.txt", tree / "csrc")
    shutil.copytree(ROOT / "scripts", tree / "scripts")
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(*steps, already=0, dies=False):
        calls = tmp_path / "calls"
        calls.write_text("")
        result = subprocess.run(
            [tree / "scripts" / "gpu_check.sh", *steps],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={
                **os.environ,
                "PYTHON": str(python),
                "OUT": str(tmp_path / "out"),
                "CALLS": str(calls),
                "SECONDS": str(already),  # where bash's clock starts
                "PATH": "/usr/bin:/bin",
                "DIES": "1" if dies else "",
            },
        )
        assert result.returncode == dies, result.stdout + result.stderr
        found = re.findall(r"^-m (bench\S+) --budget (\d+) ", calls.read_text(), re.MULTILINE)
        return result.stdout, [(module, int(budget)) for module, budget in found]

    run.results = tree / "bench" / "results"
    return run


def test_benchmarks_share_the_time_that_is_left(check):
    output, calls = check(already=300)
    assert [module for module, _ in calls] == 2 * ["bench.gpu", "bench.gpu.train"]
    budgets = [budget for _, budget in calls]
    # 530 s in all; 90 s are kept for training steps, 65 s for the kernels (20 of them for the
    # backward's), 15 s for what is slow.
    kept = (90 + 65, 65, 20, 0)
    for budget, most in zip(budgets, (230 - seconds - 15 for seconds in kept), strict=True):
        assert most - 30 <= budget <= most
    assert {path.name for path in check.results.iterdir()} == {
        "a-gpu.json",
        "training-a-gpu.json",
    }
    for step in ("build", "tests", "benchmark", "training steps", "each kernel", "each backward"):
        assert re.search(rf"^{step} +ok ", output, re.MULTILINE), output


def test_steps_may_be_run_by_themselves(check):
    output, calls = check("training")
    ((module, budget),) = calls
    assert module == "bench.gpu.train"
    assert budget > 500
    assert [path.name for path in check.results.iterdir()] == ["training-a-gpu.json"]
    assert "each kernel" not in output


def test_what_there_is_no_time_for_does_not_run_and_is_said(check):
    output, calls = check("bench", "training", already=375)
    assert [module for module, _ in calls] == ["bench.gpu", "bench.gpu.train"]
    output, calls = check("bench", "training", already=430)
    assert [module for module, _ in calls] == ["bench.gpu.train"]
    assert re.search(r"^benchmark +NOT RUN: out of time ", output, re.MULTILINE), output


def test_a_benchmark_that_dies_publishes_no_earlier_result(check):
    check("bench", "training")
    for path in check.results.iterdir():
        path.unlink()
    output, calls = check("bench", "training", dies=True)
    assert [module for module, _ in calls] == ["bench.gpu", "bench.gpu.train"]
    assert re.search(r"^benchmark +FAILED: exit status 3 ", output, re.MULTILINE), output
    assert not list(check.results.iterdir())
