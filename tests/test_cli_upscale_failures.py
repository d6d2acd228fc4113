"""`srcnn-fused upscale` when the disk is full, when it is interrupted, and in little memory."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from upscale_command import (
    files,
    in_a_folder_of_its_own,  # noqa: F401  a fixture
    only_line,
    picture,
    run,
    start,
)

from srcnn_fused import upscale


@pytest.mark.parametrize("ext", ["png", "jpg", "webp", "tif"])
def test_a_full_disk_costs_nothing(monkeypatch, ext):
    picture("a.png", 40, 40)
    Path(f"a_x3.{ext}").write_bytes(b"precious")
    opened = Path.open

    class FullDisk:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            if self.file.tell() + len(data) > 300:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

    def open_on_a_full_disk(self, mode="r", *rest, **options):
        file = opened(self, mode, *rest, **options)
        return FullDisk(file) if "w" in mode else file

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    result = run("a.png", "--ext", ext, "--overwrite")
    assert result.exit_code == 1
    reason = f"a_x3.{ext}: cannot be written: No space left on device; nothing was changed"
    assert only_line(result) == reason
    assert files() == ["a.png", f"a_x3.{ext}"]
    assert Path(f"a_x3.{ext}").read_bytes() == b"precious"


@pytest.mark.parametrize("ext", ["png", "jpg", "webp", "tif"])
def test_a_real_write_failure_costs_nothing(ext):
    """The limit on file sizes makes the system itself refuse the write."""
    picture("a.png", 60, 60)
    Path(f"a_x3.{ext}").write_bytes(b"precious")
    done = start("a.png", "--ext", ext, "--overwrite", limit=2000)
    _, errors = done.communicate(timeout=120)
    assert done.returncode == 1
    assert f"a_x3.{ext}: cannot be written: File too large; nothing was changed" in errors
    assert files() == ["a.png", f"a_x3.{ext}"]
    assert Path(f"a_x3.{ext}").read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission():
    picture("a.png")
    Path("locked").mkdir(mode=0o555)
    result = run("a.png", "-o", "locked")
    assert result.exit_code == 1
    assert "locked/a_x3.png: cannot be written: Permission denied" in only_line(result)


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, "srcnn-fused: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_an_interruption_leaves_no_partial_file(number, status, line):
    picture("a.png", 900, 900)
    process = start("a.png", "--backend", "reference", "--quiet")
    deadline = time.monotonic() + 100
    while not any(".tmp" in name for name in files()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == status
    assert errors == line
    assert files() == ["a.png"]


def test_ctrl_c_between_bands(monkeypatch):
    picture("a.png")
    monkeypatch.setattr(
        upscale, "_to_integers", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    result = run("a.png")
    assert result.exit_code == 130
    assert result.stderr == "srcnn-fused: interrupted\n"
    assert files() == ["a.png"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_picture(extension):
    """Peak memory of a process that enlarges 1.3 and 10 times as many pixels."""
    script = (
        "import resource, sys; from srcnn_fused.cli import app\n"
        "app(['upscale', '-m', 'x3.safetensors', '-q', sys.argv[1]], standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for name, height in (("small.png", 400), ("large.png", 3000)):
        Image.fromarray(np.zeros((height, 400, 3), np.uint8)).save(name)
        done = subprocess.run(
            [sys.executable, "-c", script, name], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    # The decoded input, twice: as Pillow has it and as an array.
    decoded = 2600 * 400 * (3 + 4) / 2**20
    assert peaks[1] - peaks[0] < decoded + 12
