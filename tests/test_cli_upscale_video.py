"""`srcnn-fused upscale` on videos: names, refusals, failures, and that nothing is left behind."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from upscale_command import (
    files,
    in_a_folder_of_its_own,  # noqa: F401  a fixture
    make_network_from_file,
    only_line,
    picture,
    run,
    start,
)

pytest.importorskip("av")
from video_clips import join, make_clip, packets_of, read_clip

from srcnn_fused.cli._plan import Job
from srcnn_fused.cli._upscale_progress import UpscaleProgress
from srcnn_fused.video import PlaneFormat, enlarge_planes

SIZE = (16, 20)


def test_the_output_is_the_enlarged_video_beside_the_input():
    written = make_clip("a.mkv", 3, size=SIZE, sound=True)
    result = run("a.mkv", "--codec", "ffv1")
    assert result.exit_code == 0, result.stderr
    assert re.search(
        r"^a\.mkv -> a_x3\.mkv \(60x48, 3 frames, \d+\.\d s, \d+\.\d frames/s\)\n",
        result.stderr,
        re.M,
    )
    assert files() == ["a.mkv", "a_x3.mkv"]
    frames, _ = read_clip("a_x3.mkv")
    network = make_network_from_file("x3")
    for planes, (_, got) in zip(written, frames, strict=True):
        for big, exact in zip(got, enlarge_planes(planes, network, PlaneFormat()), strict=True):
            assert np.array_equal(big, exact)
    assert packets_of("a_x3.mkv", "audio") == packets_of("a.mkv", "audio")


@pytest.mark.parametrize("ext", ["mp4", "m4v", "mov", "mkv", "webm", "avi", "y4m"])
def test_every_container_is_written_and_read(ext):
    make_clip("a.mkv", 3, size=SIZE)
    result = run("a.mkv", "-o", f"b.{ext}", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    frames, first = read_clip(f"b.{ext}")
    assert (len(frames), first.width, first.height) == (3, 60, 48)
    result = run(f"b.{ext}", "-o", "c.mkv", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    frames, first = read_clip("c.mkv")
    assert (len(frames), first.width, first.height) == (3, 180, 144)


def test_folders_hold_pictures_and_videos():
    picture("in/a.png")
    make_clip("in/a.mkv", 2, size=SIZE)
    make_clip("in/deep/b.y4m", 2, codec="rawvideo", size=SIZE)
    result = run("in", "-r", "-o", "out", "--ext", "webp")
    assert result.exit_code == 0, result.stderr
    written = ["out/a_x3.mkv", "out/a_x3.webp", "out/deep/b_x3.y4m"]
    assert [name for name in files() if name.startswith("out")] == written
    result = run("in", "-o", "out", "--ext", ".mp4", "--suffix", "")
    assert result.exit_code == 0, result.stderr
    assert Path("out/a.mp4").is_file()
    assert Path("out/a.png").is_file()
    # What an earlier run wrote is skipped, and not enlarged again.
    assert run("in").exit_code == 0
    result = run("in", "--skip-existing")
    assert "left out, being outputs of other inputs: in/a_x3.mkv, in/a_x3.png" in result.stderr
    assert "in/a_x3.mkv exists, skipped" in result.stderr


def test_nothing_is_overwritten_unasked():
    make_clip("a.mkv", 2, size=SIZE)
    Path("a_x3.mkv").write_bytes(b"precious")
    result = run("a.mkv")
    assert result.exit_code == 1
    assert only_line(result) == "a_x3.mkv: exists already; --overwrite replaces it"
    assert Path("a_x3.mkv").read_bytes() == b"precious"
    assert run("a.mkv", "--overwrite").exit_code == 0
    assert len(read_clip("a_x3.mkv")[0]) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.mkv", "--ext", "png"], "--ext png: none of the inputs is a picture"),
        (["a.png", "--ext", "mkv"], "--ext mkv: none of the inputs is a video"),
        (["a.mkv", "-o", "b.png"], "-o b.png: a.mkv is a video, which .png cannot hold"),
        (["a.png", "-o", "b.mp4"], "-o b.mp4: a.png is a picture, which .mp4 cannot hold"),
        (["a.mkv", "-o", "b.mp4", "--ext", "mkv"], "contradict each other"),
        (["a.mkv", "--ext", "wmv"], "--ext: unknown extension '.wmv'; can write png, jpg"),
        (["a.mkv", "--codec", "x264"], "--codec: no encoder of video is called 'x264'"),
        (["a.mkv", "--codec", "aac"], "--codec: no encoder of video is called 'aac'"),
        (["a.mkv", "--codec", "ffv1", "--crf", "3"], "--crf: ffv1 is lossless and has none"),
        (["a.mkv", "--codec", "mpeg4", "--crf", "3"], "--crf: mpeg4 has no such option"),
        (["a.mkv", "--codec", "ffv1", "--ext", "webm"], "a.mkv: webm cannot hold what ffv1 makes"),
        (["a.mkv", "--codec", "mjpeg"], "a.mkv: mjpeg does not take 60x48 of yuv420p: "),
        (["a.mkv", "--codec", "ffv1", "--ext", "y4m"], "Y4M holds raw video, not ffv1"),
        (["a.mkv", "--max-pixels", "40"], "a.mkv: 20x16 is 320 pixels, above the limit of 40"),
        (["missing.mp4"], "missing.mp4: no such file"),
        (["empty.mp4"], "empty.mp4: is empty"),
        (["text.mp4"], "text.mp4: cannot be read: Invalid data found when processing input"),
        (["sound.mkv"], "sound.mkv: holds no video"),
        (["cut.y4m"], "cut.y4m: is cut short: after 2 frames comes a part of one"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, reason):
    picture("a.png")
    make_clip("a.mkv", 2, size=SIZE)
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("not a video" * 100)
    import av

    with av.open("sound.mkv", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        block.sample_rate = 8000
        container.mux(stream.encode(block))
    make_clip("cut.y4m", 3, codec="rawvideo", size=SIZE)
    Path("cut.y4m").write_bytes(Path("cut.y4m").read_bytes()[:-100])
    before = files()
    result = run(*arguments)
    assert result.exit_code == 1
    assert reason in only_line(result)
    assert files() == before


def test_rgb_models_are_for_pictures():
    picture("a.png")
    make_clip("a.mkv", 2, size=SIZE)
    result = run("a.mkv", "a.png", model="rgb.safetensors")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    reason = "a.mkv: video needs a model of one channel (luma), this one has 3"
    assert lines[0] == f"srcnn-fused: error: {reason}"
    assert lines[1].startswith("a.png -> a_x2.png")
    assert files() == ["a.mkv", "a.png", "a_x2.png"]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_is_cut_short_is_an_error(name, share):
    """Found before any frame is enlarged. The index of the MP4 lies in front, as on the web."""
    make_clip("whole.mkv", 200, codec="libx264", size=(32, 32), sound=True, max_b_frames=0)
    join(["whole.mkv"], name, {"movflags": "faststart"} if name == "a.mp4" else None)
    Path("whole.mkv").unlink()
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: int(len(whole) * share)])
    picture("b.png")
    result = run(name, "b.png")
    assert result.exit_code == 1
    error, other, summary = result.stderr.splitlines()
    assert re.match(
        rf"srcnn-fused: error: {re.escape(name)}: (is cut short|cannot be read): ", error
    )
    assert other.startswith("b.png -> b_x3.png")
    assert summary == f"srcnn-fused: 1 of 2 files failed: {name}"
    assert files() == [name, "b.png", "b_x3.png"]


def damage(name, number, share):
    """Overwrite 200 bytes of a packet with zeros, from that share of it on."""
    data = bytearray(Path(name).read_bytes())
    packet = packets_of(name, "video")[number]
    start = data.index(packet) + int(len(packet) * share)
    data[start : start + 200] = bytes(200)
    Path(name).write_bytes(data)


def test_a_frame_that_cannot_be_decoded_is_an_error():
    make_clip("a.mkv", 12, codec="libvpx-vp9", size=(64, 64))
    damage("a.mkv", 6, 0)
    result = run("a.mkv")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"a\.mkv: its video cannot be decoded near 0\.\d\d s: Invalid data found .*",
        only_line(result),
    )
    assert files() == ["a.mkv"]


def test_frames_that_the_decoder_mends_are_counted():
    make_clip("a.mkv", 12, codec="libx264", size=(64, 64), options={"bf": "0"})
    damage("a.mkv", 6, 0.5)
    result = run("a.mkv")
    assert result.exit_code == 0
    assert "srcnn-fused: note: a.mkv: 1 of its frames are damaged\n" in result.stderr
    assert len(read_clip("a_x3.mkv")[0]) == 12


def test_without_pyav_videos_say_how_to_get_it_and_pictures_go_on(monkeypatch):
    picture("a.png")
    make_clip("b.mkv", 2, size=SIZE)
    load = importlib.import_module

    def lacking(name, *rest):
        if name == "av":
            raise ModuleNotFoundError("No module named 'av'")
        return load(name, *rest)

    monkeypatch.setattr(importlib, "import_module", lacking)
    result = run("b.mkv", "a.png", "--codec", "libx264")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == (
        "srcnn-fused: error: b.mkv: videos need PyAV: pip install 'srcnn_fused[video]' "
        "(No module named 'av')"
    )
    assert lines[1].startswith("a.png -> a_x3.png")
    assert files() == ["a.png", "a_x3.png", "b.mkv"]


def test_an_old_pyav_is_named(monkeypatch):
    import av

    make_clip("b.mkv", 2, size=SIZE)
    monkeypatch.setattr(av, "__version__", "16.1.0")
    reason = "pip install 'srcnn_fused[video]' (17.1 or newer; this is 16.1.0)"
    assert reason in only_line(run("b.mkv"))


def test_pictures_do_without_pyav():
    picture("a.png")
    script = (
        "import sys; from srcnn_fused.cli import app\n"
        "app(['upscale', '-m', 'x3.safetensors', '-q', 'a.png'], standalone_mode=False)\n"
        "sys.exit('av' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert files() == ["a.png", "a_x3.png"]


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, "srcnn-fused: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_an_interruption_leaves_no_partial_file(number, status, line):
    make_clip("a.mkv", 400, codec="libx264", size=(96, 128))
    process = start("a.mkv", "--backend", "reference", "--quiet")
    deadline = time.monotonic() + 100
    while not any(".tmp" in name for name in files()) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # into the frames
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (status, line)
    assert files() == ["a.mkv"]


@pytest.mark.parametrize("ext", ["mkv", "y4m"])
def test_a_write_failure_costs_nothing(ext):
    """The limit on file sizes makes the system itself refuse the write."""
    make_clip("a.mkv", 3, size=(32, 32))
    Path(f"a_x3.{ext}").write_bytes(b"precious")
    done = start("a.mkv", "--ext", ext, "--overwrite", limit=1000)
    _, errors = done.communicate(timeout=120)
    assert done.returncode == 1
    assert errors.endswith(
        f"srcnn-fused: error: a_x3.{ext}: cannot be written: File too large; nothing was changed\n"
    )
    assert files() == ["a.mkv", f"a_x3.{ext}"]
    assert Path(f"a_x3.{ext}").read_bytes() == b"precious"


def test_notices_say_what_changes():
    make_clip("odd.mkv", 2, size=(5, 7))
    result = run("odd.mkv")
    cut = "odd.mkv: libx264 takes even sizes only: 21x15 is cut to 20x14"
    assert f"srcnn-fused: note: {cut}\n" in result.stderr
    assert read_clip("odd_x3.mkv")[1].width == 20
    make_clip("deep.mkv", 2, "yuv444p10le", size=SIZE)
    result = run("deep.mkv", "--codec", "libsvtav1")
    becomes = "deep.mkv: libsvtav1 cannot hold yuv444p10le: it becomes yuv420p10le"
    assert f"srcnn-fused: note: {becomes}\n" in result.stderr
    assert read_clip("deep_x3.mkv")[1].format.name == "yuv420p10le"
    make_clip("lace.mkv", 2, codec="libx264", size=SIZE, options={"x264-params": "tff=1"})
    result = run("lace.mkv")
    assert "note: lace.mkv: is interlaced, and is enlarged as if it were not" in result.stderr
    make_clip("gap.mkv", 3, times=[0, 40, 200], size=SIZE)  # AVI repeats frames in a gap
    assert "note" not in run("gap.mkv", "--ext", "avi").stderr
    for name, times, ext in (("gap", [0, 40, 200], "y4m"), ("varies", [0, 40, 57, 200], "avi")):
        make_clip(f"{name}.mkv", len(times), times=times, size=SIZE)
        result = run(f"{name}.mkv", "--ext", ext)
        assert f"note: {name}.mkv: its frames come at a varying rate, which " in result.stderr
        assert len(read_clip(f"{name}_x3.{ext}")[0]) == len(times)


def test_the_bar_shows_frames_a_second_and_time_left():
    make_clip("a.mkv", 4, size=SIZE)
    picture("b.png", 50, 50)
    frame = SIZE[0] * SIZE[1] * 9
    jobs = [Job(Path("a.mkv"), Path("a_x3.mkv")), Job(Path("b.png"), Path("b_x3.png"))]
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        console = Console(force_terminal=True, width=120, record=True, file=nowhere)
        with UpscaleProgress(jobs, 3, quiet=False, console=console) as progress:
            assert progress._bar.tasks[0].total == 4 * frame + 22500
            progress.start(jobs[0])
            for done in range(1, 6):  # one more than the header says
                time.sleep(0.02)
                progress.advance_video(done, 5)
            progress._bar.refresh()
            progress.finish(jobs[0], 60, 48, 0.5, frames=5)
            assert progress._bar.tasks[0].completed == 5 * frame
            assert progress._bar.tasks[0].total == 5 * frame + 22500
        shown = console.export_text()
    assert "5/5 frames" in shown
    assert "frames/s" in shown
    assert "0:00:0" in shown
    assert "a.mkv -> a_x3.mkv (60x48, 5 frames, 0.5 s, 10.0 frames/s)" in shown
