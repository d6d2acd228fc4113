"""`srcnn-fused upscale`: what is read, written and refused, and that nothing is lost."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import damaged_exif
from PIL import Image
from rich.console import Console
from upscale_command import (
    files,
    in_a_folder_of_its_own,  # noqa: F401  a fixture
    make_network_from_file,
    only_line,
    picture,
    run,
)

from srcnn_fused import imaging
from srcnn_fused.cli._plan import Job
from srcnn_fused.cli._upscale_progress import UpscaleProgress
from srcnn_fused.imaging import read_picture
from srcnn_fused.upscale import upscale_pixels


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_the_output_is_the_enlarged_picture_beside_the_input(mode):
    pixels = picture("a.png", mode=mode)
    result = run("a.png")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("a.png -> a_x3.png (24x18, ")
    assert files() == ["a.png", "a_x3.png"]
    expected = upscale_pixels(pixels, make_network_from_file("x3"), alpha=mode in ("LA", "RGBA"))
    assert np.array_equal(read_picture(Path("a_x3.png")).pixels, expected)


def test_16_bits_stay_16_bits():
    deep = np.random.default_rng(0).integers(0, 65536, (6, 8, 3), np.uint16)
    from srcnn_fused.imaging import Encoding, open_writer

    with open_writer(Path("a.png"), Encoding("PNG", 8, 6, 3, np.dtype(np.uint16))) as writer:
        writer.put(deep)
    assert run("a.png").exit_code == 0
    assert run("a.png", "--ext", "tif").exit_code == 0
    expected = upscale_pixels(deep, make_network_from_file("x3"))
    assert expected.dtype == np.uint16
    assert np.array_equal(read_picture(Path("a_x3.png")).pixels, expected)
    assert np.array_equal(read_picture(Path("a_x3.tif")).pixels, expected)
    result = run("a.png", "--ext", "jpg")
    assert "note: a.png: JPEG holds 8 bits a channel; 16 are reduced to 8" in result.stderr
    assert read_picture(Path("a_x3.jpg")).pixels.dtype == np.uint8


def test_rgb_models_take_colours_whole():
    pixels = picture("a.png")
    assert run("a.png", model="rgb.safetensors").exit_code == 0
    expected = upscale_pixels(pixels, make_network_from_file("rgb"))
    assert np.array_equal(read_picture(Path("a_x2.png")).pixels, expected)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_model_without_a_scale_takes_any(scale):
    pixels = picture("a.png")
    assert run("a.png", "-s", scale, model="any.safetensors").exit_code == 0
    expected = upscale_pixels(pixels, make_network_from_file("any", scale=scale))
    assert np.array_equal(read_picture(Path(f"a_x{scale}.png")).pixels, expected)


def test_scale_3_is_the_default():
    picture("a.png")
    assert run("a.png", model="any.safetensors").exit_code == 0
    assert files() == ["a.png", "a_x3.png"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1), ("bfloat16", 12)])
def test_dtype_is_what_the_network_computes_in(dtype, tolerance):
    pixels = picture("a.png")
    assert run("a.png", "--dtype", dtype, "--backend", "reference").exit_code == 0
    expected = upscale_pixels(pixels, make_network_from_file("x3"))
    got = read_picture(Path("a_x3.png")).pixels
    assert np.abs(got.astype(int) - expected).max() <= tolerance


def test_folders_patterns_and_files_in_one_go():
    picture("in/a.png", seed=1)
    picture("in/b.jpg", seed=2)
    picture("in/deep/c.png", seed=3)
    picture("more/d1.png", seed=4)
    picture("more/d2.bmp", seed=5)
    Path("in/notes.txt").write_text("not a picture")
    result = run("in", "more/d*", "-o", "out", "--quality", 80)
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "a_x3.png",
        "b_x3.jpg",
        "d1_x3.png",
        "d2_x3.png",
    ]
    result = run("in", "-r", "-o", "deep-out")
    assert result.exit_code == 0, result.stderr
    assert Path("deep-out/deep/c_x3.png").is_file()


def test_names_of_outputs():
    picture("a.PNG")
    for arguments, name in (
        (["-o", "b.webp"], "b.webp"),
        (["-o", "new/c.tif"], "new/c.tif"),
        (["-o", "folder/"], "folder/a_x3.PNG"),
        (["-o", "bare"], "bare/a_x3.PNG"),
        (["--suffix", "-big"], "a-big.PNG"),
        (["--ext", ".jpg"], "a_x3.jpg"),
        (["--suffix", "", "-o", "same"], "same/a.PNG"),
    ):
        result = run("a.PNG", *arguments)
        assert result.exit_code == 0, result.stderr
        assert Path(name).is_file(), name
        assert read_picture(Path(name)).pixels.shape == (18, 24, 3)


def test_outputs_of_an_earlier_run_are_not_enlarged_again():
    picture("in/a.png")
    assert run("in").exit_code == 0
    result = run("in", "--skip-existing")
    assert result.exit_code == 0
    assert "left out, being outputs of other inputs: in/a_x3.png" in result.stderr
    assert "in/a_x3.png exists, skipped" in result.stderr
    assert files() == ["in/a.png", "in/a_x3.png"]


def test_outputs_that_a_shell_has_named_are_not_enlarged_again():
    picture("a.jpg")
    picture("b.jpg", seed=1)
    assert run("a.jpg", "b.jpg").exit_code == 0
    everything = files()
    assert everything == ["a.jpg", "a_x3.jpg", "b.jpg", "b_x3.jpg"]
    result = run(*everything, "--skip-existing")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "srcnn-fused: note: left out, being outputs of other inputs: a_x3.jpg, b_x3.jpg",
        "a_x3.jpg exists, skipped",
        "b_x3.jpg exists, skipped",
    ]
    assert run("a_x3.jpg").exit_code == 0  # by itself it is an input like any other
    assert files() == [*everything[:2], "a_x3_x3.jpg", *everything[2:]]


def test_nothing_is_overwritten_unasked():
    picture("a.png")
    Path("a_x3.png").write_bytes(b"precious")
    result = run("a.png")
    assert result.exit_code == 1
    assert only_line(result) == "a_x3.png: exists already; --overwrite replaces it"
    assert Path("a_x3.png").read_bytes() == b"precious"
    assert run("a.png", "--skip-existing").exit_code == 0
    assert Path("a_x3.png").read_bytes() == b"precious"
    assert run("a.png", "--overwrite").exit_code == 0
    assert read_picture(Path("a_x3.png")).pixels.shape == (18, 24, 3)


def test_an_input_is_never_overwritten():
    picture("a.png")
    picture("a_x3.png", seed=1)
    Path("link.png").symlink_to("a.png")
    before = {name: Path(name).read_bytes() for name in files()}
    for arguments, reason in (
        (["a.png", "--suffix", "", "--overwrite"], "a.png would be written over itself"),
        (["a.png", "-o", "a.png", "--overwrite"], "a.png would be written over itself"),
        (["a.png", "-o", "link.png", "--overwrite"], "a.png would be written over itself"),
        (["a.png", "a_x3.png", "--overwrite"], "a_x3.png is an input and would be overwritten"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert reason in only_line(result)
    assert {name: Path(name).read_bytes() for name in files()} == before


def test_collisions_are_found_before_any_work():
    picture("a.png")
    picture("a.bmp", seed=1)
    picture("b/a.png", seed=2)
    result = run("a.png", "a.bmp")
    assert result.exit_code == 1
    assert only_line(result).startswith("a.png and a.bmp would both be written to a_x3.png")
    result = run("a.png", "b/a.png", "-o", "out")
    assert "a.png and b/a.png would both be written to out/a_x3.png" in only_line(result)
    assert files() == ["a.bmp", "a.png", "b/a.png"]


def test_a_broken_file_does_not_stop_the_others():
    picture("a.png", 40, 40)
    picture("c.png", seed=1)
    Path("b.png").write_bytes(Path("a.png").read_bytes()[:2000])
    result = run("a.png", "b.png", "missing.png", "c.png")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("a.png -> a_x3.png")
    assert "error: b.png: cannot be read: image file is truncated" in lines[1]
    assert lines[2] == "srcnn-fused: error: missing.png: no such file"
    assert lines[3].startswith("c.png -> c_x3.png")
    assert lines[4] == "srcnn-fused: 2 of 4 files failed: b.png, missing.png"
    assert files() == ["a.png", "a_x3.png", "b.png", "c.png", "c_x3.png"]


def test_a_file_that_finds_a_bug_does_not_stop_the_others(monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        picture(name)
    read = imaging.read_picture

    def fails_on_b(path, **options):
        if path.name == "b.png":
            raise TypeError("unsupported operand\nmore")
        return read(path, **options)

    monkeypatch.setattr(imaging, "read_picture", fails_on_b)
    monkeypatch.delenv("SRCNN_FUSED_DEBUG", raising=False)
    result = run("a.png", "b.png", "c.png")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert lines[1] == (
        "srcnn-fused: error: b.png: TypeError: unsupported operand "
        "(for a bug report, SRCNN_FUSED_DEBUG=1 shows the traceback)"
    )
    assert lines[3] == "srcnn-fused: 1 of 3 files failed: b.png"
    assert files() == ["a.png", "a_x3.png", "b.png", "c.png", "c_x3.png"]

    monkeypatch.setenv("SRCNN_FUSED_DEBUG", "1")
    result = run("b.png")
    assert result.exit_code == 1
    assert "in fails_on_b" in result.stderr
    assert result.stderr.endswith("error: b.png: TypeError: unsupported operand\n")


def test_damaged_exif_of_a_jpeg_does_not_keep_it_from_tiff():
    for damage in ("magic", "type"):
        image = Image.fromarray(picture("a.png"))
        image.save(f"{damage}.jpg", exif=b"Exif\0\0" + damaged_exif(damage))
    result = run("magic.jpg", "type.jpg", "--ext", "tif")
    assert result.exit_code == 0, result.stderr
    for damage in ("magic", "type"):
        notice = f"srcnn-fused: note: {damage}.jpg: its EXIF data is damaged and is left out\n"
        assert notice in result.stderr
        assert read_picture(Path(f"{damage}_x3.tif")).pixels.size == 18 * 24 * 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.png", "-o", "folder.png"], "folder.png/a_x3.png"),
        (["a.png", "-s", "2"], "-s 2: model x3.safetensors was made for scale 3"),
        (["a.png", "-s", "0"], "--scale must be a positive integer, got 0"),
        (["a.png", "-m", "9-9-9"], "-m 9-9-9: no model '9-9-9"),
        (["a.png", "-m", "broken.safetensors"], "-m broken.safetensors: model file"),
        (["a.png", "--ext", "gif"], "--ext: unknown extension '.gif'; can write png, jpg"),
        (["a.png", "-o", "b.xyz"], "-o b.xyz: unknown extension '.xyz'"),
        (["a.png", "-o", "b.png", "--ext", "jpg"], "contradict each other"),
        (["a.png", "--overwrite", "--skip-existing"], "contradict each other"),
        (["a.png", "a.png", "folder.png", "-o", "b.png"], "must be a folder for a folder"),
        (["*.webp"], "*.webp: no file matches this pattern"),
        (["empty"], "empty: no image or video files in this folder (--recursive also"),
        (["a.png", "--device", "tpu"], "--device must be auto, cpu or cuda, got 'tpu'"),
        (["a.png", "--dtype", "int8"], "--dtype must be one of float32, float64"),
        (["a.png", "--backend", "fast"], "--backend must be one of auto, fused, reference"),
        (["a.png", "--suffix", "/x"], "--suffix must not contain '/'"),
        (["a.png", "-o", "text"], "-o text: is a file; a folder"),
        (["a.png", "--max-pixels", "40"], "a.png: 8x6 is 48 pixels, above the limit of 40"),
        (["a.png/b.png"], "a.png/b.png: cannot be read: "),
        (["alpha.png", "--ext", "jpg"], "alpha.png: JPEG cannot hold its transparency"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, reason):
    picture("a.png")
    picture("alpha.png", mode="RGBA")
    picture("folder.png/b.png")
    Path("empty/deeper").mkdir(parents=True)
    Path("text").write_text("precious")
    Path("broken.safetensors").write_bytes(b"nonsense")
    before = files()
    if "folder.png" in arguments and "-o" in arguments and arguments[-1] == "folder.png":
        Path("folder.png/a_x3.png").mkdir()  # a folder stands where the output should go
    result = run(*arguments)
    assert result.exit_code == 1
    assert reason in only_line(result)
    assert files() == before


def test_cuda_without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    picture("a.png")
    result = run("a.png", "--device", "cuda")
    assert result.exit_code == 1
    assert "--device cuda: no GPU can be used here" in only_line(result)


def test_an_opaque_alpha_channel_does_not_keep_a_picture_from_jpeg():
    pixels = picture("a.png", mode="RGBA")
    pixels[..., 3] = 255
    Image.fromarray(pixels).save("a.png")
    assert run("a.png", "--ext", "jpg").exit_code == 0
    assert read_picture(Path("a_x3.jpg")).pixels.shape == (18, 24, 3)


def test_quiet_prints_errors_only():
    picture("a.png")
    assert run("a.png", "--quiet").stderr == ""
    assert run("a.png", "--quiet").stderr == (
        "srcnn-fused: error: a_x3.png: exists already; --overwrite replaces it\n"
    )


def test_the_bar_shows_pixels_a_second_and_time_left():
    picture("a.png", 100, 100)
    picture("b.png", 50, 50)
    Path("c.png").write_text("broken")
    console = Console(force_terminal=True, width=120, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    jobs = [Job(Path(f"{name}.png"), Path(f"{name}_x3.png")) for name in "abc"]
    with UpscaleProgress(jobs, 3, quiet=False, console=console) as progress:
        progress.start(jobs[0])
        for _ in range(9):
            time.sleep(0.02)
            progress.advance(10_000)
        progress._bar.refresh()
        progress.skip(jobs[1])
        progress.fail(jobs[2], "c.png: is not an image")
        assert progress._bar.tasks[0].total == 90_000
        assert progress._bar.tasks[0].finished
    shown = console.export_text()
    assert "a.png" in shown
    assert "0.1/0.1 Mpixel" in shown
    assert "Mpixel/s" in shown
    assert "0:00:0" in shown
    assert "b_x3.png exists, skipped" in shown
    console.file.close()
