"""The command line as a whole: help, errors as one line, exit statuses, and that it starts fast."""

import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from srcnn_fused import cli
from srcnn_fused.errors import UserError

runner = CliRunner()


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "srcnn_fused", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def test_help_lists_every_command_and_loads_no_torch():
    script = (
        "import sys; sys.argv = ['srcnn-fused', '--help']\n"
        "from srcnn_fused.cli import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    for name in ("upscale", "evaluate", "train", "bench", "doctor", "demo"):
        assert name in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("command", ["upscale", "evaluate", "train", "bench", "doctor", "demo"])
def test_every_command_has_help(command):
    result = runner.invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_says_what_is_required_and_what_values_there_are():
    shown = {}
    for name in ("upscale", "evaluate", "train", "demo"):
        result = runner.invoke(cli.app, [name, "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
        shown[name] = " ".join(result.output.split())
    assert "srcnn-fused upscale [OPTIONS] INPUT... " in shown["upscale"]
    assert "srcnn-fused train [OPTIONS] [DIR]... " in shown["train"]
    for name in ("upscale", "demo"):
        assert "--scale -s N Enlargement: any positive integer that the model" in shown[name]
    assert "--scale -s N Enlargement to measure: any positive integer" in shown["evaluate"]
    assert shown["train"].count("Required, unless --resume knows it.") == 3
    assert "best model, history. Required." in shown["train"]
    assert "--seed N Where the random numbers start, from 0 on" in shown["train"]


def test_version():
    result = runner.invoke(cli.app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("srcnn-fused ")


def test_an_unknown_command_or_option_is_a_usage_error():
    assert runner.invoke(cli.app, ["enlarge"]).exit_code == 2
    assert runner.invoke(cli.app, ["upscale", "a.png", "--bigger"]).exit_code == 2
    assert runner.invoke(cli.app, ["upscale", "a.png", "--quality", "0"]).exit_code == 2


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("a.png: no such file"), 1, "srcnn-fused: error: a.png: no such file"),
        (
            PermissionError(13, "Permission denied", "x.png"),
            1,
            "srcnn-fused: error: Permission denied: x.png",
        ),
        (OSError(28, "No space left on device"), 1, "srcnn-fused: error: No space left on device"),
        (MemoryError(), 1, "srcnn-fused: error: not enough memory"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 9 GiB\nat allocator.cpp:1"),
            1,
            "srcnn-fused: error: CUDA out of memory. Tried to allocate 9 GiB",
        ),
        (
            OverflowError("int too big to convert"),
            1,
            "srcnn-fused: error: OverflowError: int too big to convert "
            "(for a bug report, SRCNN_FUSED_DEBUG=1 shows the traceback)",
        ),
        (
            RecursionError(),
            1,
            "srcnn-fused: error: RecursionError "
            "(for a bug report, SRCNN_FUSED_DEBUG=1 shows the traceback)",
        ),
        (KeyboardInterrupt(), 130, "srcnn-fused: interrupted"),
    ],
)
def test_what_goes_wrong_is_one_line(monkeypatch, error, status, line):
    monkeypatch.delenv("SRCNN_FUSED_DEBUG", raising=False)
    result = runner.invoke(failing(error), ["fail"])
    assert result.exit_code == status
    assert result.stderr == line + "\n"


def failing(error):
    app = typer.Typer(cls=cli._Group)

    @app.callback()
    def options() -> None:
        pass

    @app.command()
    def fail() -> None:
        raise error

    return app


def test_a_traceback_for_bug_reports_can_be_had(monkeypatch):
    monkeypatch.setenv("SRCNN_FUSED_DEBUG", "1")
    result = runner.invoke(failing(ZeroDivisionError("a bug")), ["fail"])
    assert result.exit_code == 1
    assert "in fail\n" in result.stderr
    assert result.stderr.splitlines()[-1] == "srcnn-fused: error: ZeroDivisionError: a bug"


def test_an_instruction_set_that_is_not_there_is_one_line(extension, tmp_path):
    environment = {**os.environ, "SRCNN_FUSED_CPU_ISA": "foo"}
    done = run("demo", "-o", str(tmp_path / "sheet.png"), env=environment, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("srcnn-fused: error: SRCNN_FUSED_CPU_ISA")


def test_warnings_are_one_line_each():
    import warnings

    app = typer.Typer(cls=cli._Group)

    @app.callback()
    def options() -> None:
        pass

    @app.command()
    def warn() -> None:
        warnings.warn("running the slower PyTorch reference", stacklevel=1)

    result = runner.invoke(app, ["warn"])
    assert result.stderr == "srcnn-fused: note: running the slower PyTorch reference\n"


def test_as_a_module_in_a_real_process(tmp_path):
    done = run("upscale", str(tmp_path / "nothing.png"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nothing.png: no such file" in done.stderr or "no model" in done.stderr
    assert len(done.stderr.splitlines()) == 1
