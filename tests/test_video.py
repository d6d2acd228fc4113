"""Video: planes against the network and bicubic called directly, chroma's place, files."""

import copy
import importlib
import itertools
import math
import threading
import time

import numpy as np
import pytest
import torch

from srcnn_fused import FusedSRCNN, bicubic_resize
from srcnn_fused.errors import UserError
from srcnn_fused.upscale import enlarge
from srcnn_fused.video import PlaneFormat, enlarge_planes, upscale_video
from srcnn_fused.video.chroma import SITINGS, enlarge_chroma, siting_shift
from srcnn_fused.video.stages import run_stages


@pytest.fixture(scope="module")
def model():
    return FusedSRCNN.from_pretrained("9-1-5-x2")


@pytest.fixture
def clips():
    pytest.importorskip("av")
    return importlib.import_module("video_clips")


def expected_luma(plane, model, depth, full_range):
    """By the formulas: studio swing in units of 255 goes in, whatever the file has."""
    top = 2**depth - 1
    values = torch.from_numpy(plane.astype(np.float64))
    studio = 16 + 219 * values / top if full_range else values / 2 ** (depth - 8)
    out = model((studio / 255).float()[None, None]).double()[0, 0].detach() * 255
    out = (out - 16) / 219 * top if full_range else out * 2 ** (depth - 8)
    return out.numpy()


def assert_rounded(plane, exact, depth):
    """Equal to the rounded value, but for float32's error in what is rounded."""
    exact = np.clip(exact, 0, 2**depth - 1)
    assert np.abs(plane - exact).max() <= 0.5 + 1e-6 * 2**depth


def noise(height, width, depth, seed=0):
    dtype = np.uint8 if depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**depth, (height, width)).astype(dtype)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_luma_goes_through_the_network_as_studio_swing(model, depth, full_range):
    plane = noise(9, 11, depth)
    (out,) = enlarge_planes([plane], model, PlaneFormat("grey", depth, full_range))
    assert out.dtype == plane.dtype
    assert out.shape == (18, 22)
    exact = expected_luma(plane, model, depth, full_range)
    assert_rounded(out, exact, depth)
    other = expected_luma(plane, model, depth, not full_range)
    assert np.abs(np.clip(other, 0, 2**depth - 1) - exact).max() > 2  # the range does matter


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_centred_chroma_is_bicubic_at_its_own_size(model, subsampling, depth):
    form = PlaneFormat(subsampling, depth, siting="center")
    planes = [noise(*size, depth, seed) for seed, size in enumerate(form.plane_sizes(8, 10))]
    if subsampling == "422":  # rows are not subsampled and never shift
        assert form.shift(2) == (0, 0)
    out = enlarge_planes(planes, model, form)
    for plane, big in zip(planes[1:], out[1:], strict=True):
        exact = bicubic_resize(torch.from_numpy(plane.astype(np.float32)), scale=2.0).numpy()
        assert big.shape == tuple(2 * side for side in plane.shape)
        assert_rounded(big, exact, depth)


def keys(t):
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def sample(values, position):
    """One axis at a position, edges mirrored with the edge sample repeated."""
    total = 0.0
    for k in range(math.floor(position) - 1, math.floor(position) + 3):
        index = k % (2 * len(values))
        total += keys(position - k) * values[min(index, 2 * len(values) - 1 - index)]
    return total


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("siting", SITINGS)
def test_chroma_samples_stay_where_they_lie_between_luma_pixels(siting, scale):
    """From the definition: sample k lies at luma pixel 2k + c, in the small image and the large."""
    plane = noise(5, 7, 8).astype(np.float64)
    rows, columns = (
        [
            (((2 * k + c) + 0.5) / scale - 0.5 - c) / 2  # to small luma pixels, then to samples
            for k in range(scale * length)
        ]
        for length, c in zip(plane.shape, SITINGS[siting], strict=True)
    )
    tall = np.array([[sample(column, y) for column in plane.T] for y in rows])
    exact = np.array([[sample(row, x) for x in columns] for row in tall])
    shift = tuple(siting_shift(c, scale) for c in SITINGS[siting])
    got = enlarge_chroma(torch.from_numpy(plane)[None, None], scale, "matlab", shift=shift)
    np.testing.assert_allclose(got[0, 0].numpy(), exact, atol=1e-9)


@pytest.mark.parametrize("convention", ["matlab", "pil", "torch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (6, 8)])
def test_a_vanishing_shift_gives_what_bicubic_resize_gives(convention, size):
    """All edges and tiny planes: the shifted route against the op, in every convention."""
    plane = torch.rand(1, 2, *size, dtype=torch.float64)
    exact = bicubic_resize(plane, scale=3.0, convention=convention, backend="reference")
    got = enlarge_chroma(plane, 3, convention, shift=(1e-12, -1e-12))
    torch.testing.assert_close(got, exact, atol=1e-9, rtol=0)


def test_left_sited_chroma_does_not_drift_from_the_luma(model):
    """An edge of luma and chroma at the same place; centred resizing would move it half a pixel."""
    ramp = np.linspace(16, 235, 32).round()
    luma = np.repeat(ramp[None], 8, axis=0).astype(np.uint8)
    chroma = luma[::2, ::2].copy()  # samples on the first of two pixels: the same ramp
    _, cb, _ = enlarge_planes([luma, chroma, chroma], model, PlaneFormat("420", siting="left"))
    inside = slice(4, -4)
    # Pixel X of the large luma is pixel (X + 0.5) / 2 - 0.5 of the small one; cb has every other X.
    there = np.interp((np.arange(0, 64, 2) + 0.5) / 2 - 0.5, np.arange(32), ramp)
    assert np.abs(cb[4, inside] - there[inside]).max() <= 1
    drifted = np.interp((np.arange(0, 64, 2) + 0.5 - 1) / 2 - 0.5, np.arange(32), ramp)
    assert np.abs(cb[4, inside] - drifted[inside]).mean() > 2


def test_odd_sizes_keep_chroma_rounded_up(model):
    form = PlaneFormat("420")
    planes = [noise(*size, 8) for size in form.plane_sizes(5, 7)]
    assert [plane.shape for plane in planes] == [(5, 7), (3, 4), (3, 4)]
    triple = FusedSRCNN.from_pretrained("9-1-5-x3")
    assert [p.shape for p in enlarge_planes(planes, model, form)] == [(10, 14), (5, 7), (5, 7)]
    assert [p.shape for p in enlarge_planes(planes, triple, form)] == [(15, 21), (8, 11), (8, 11)]


def test_planes_may_be_views(model):
    """Lines with padding, bottom-up frames and read-only memory, as decoders give them."""
    plane = noise(6, 8, 8)
    (expected,) = enlarge_planes([plane], model, PlaneFormat("grey"))
    padded = np.zeros((6, 32), np.uint8)
    padded[:, :8] = plane
    upside_down = plane[::-1].copy()[::-1]
    fixed = plane.copy()
    fixed.flags.writeable = False
    for view in (padded[:, :8], upside_down, fixed):
        (out,) = enlarge_planes([view], model, PlaneFormat("grey"))
        assert np.array_equal(out, expected)


def test_the_reference_makes_bands_of_a_frame(model):
    """So that its feature maps stay small; the seams do not show."""
    slow = FusedSRCNN(kernel_sizes=(9, 1, 5), scale=2, backend="reference")
    slow.load_state_dict(model.state_dict())
    image = torch.rand(1, 1, 200, 300)
    with torch.inference_mode():
        torch.testing.assert_close(enlarge(image, slow), slow(image), atol=1e-6, rtol=0)


@pytest.mark.cuda
@pytest.mark.parametrize("depth", [8, 10])
def test_a_gpu_makes_the_same_frame(model, cuda, depth):
    form = PlaneFormat("420", depth)
    planes = [noise(*size, depth, seed) for seed, size in enumerate(form.plane_sizes(33, 45))]
    expected = enlarge_planes(planes, model, form)
    got = enlarge_planes(planes, copy.deepcopy(model).cuda(), form)
    for plane, exact in zip(got, expected, strict=True):
        assert np.abs(plane.astype(int) - exact).max() <= (1 if depth == 8 else 2)


@pytest.mark.parametrize(
    ("planes", "form", "reason"),
    [
        ([(4, 4)], PlaneFormat("420"), "planes must be 3 for 420, got 1"),
        ([(4, 4), (2, 2), (2, 3)], PlaneFormat("420"), "must have the sizes"),
        ([(4, 4)], PlaneFormat("grey", 10), "planes of 10 bits must be uint16, got uint8"),
        ([(4, 0)], PlaneFormat("grey"), "not empty"),
    ],
)
def test_wrong_planes_are_named(model, planes, form, reason):
    with pytest.raises(ValueError, match=reason):
        enlarge_planes([np.zeros(size, np.uint8) for size in planes], model, form)


def test_wrong_formats_and_models_are_named(model):
    for options, reason in (
        ({"subsampling": "411"}, "subsampling must be one of 420, 422, 444, grey, got '411'"),
        ({"depth": 7}, "depth must be 8 to 16 bits, got 7"),
        ({"siting": "right"}, "siting must be one of left, "),
    ):
        with pytest.raises(ValueError, match=reason):
            PlaneFormat(**options)
    plane = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="model of one channel"):
        enlarge_planes([plane], FusedSRCNN(3, scale=2), PlaneFormat("grey"))
    with pytest.raises(ValueError, match=r"model\.scale must be"):
        enlarge_planes([plane], FusedSRCNN(), PlaneFormat("grey"))


def test_stages_run_beside_each_other_and_hold_few_items():
    """A sink that stands still stops the source after a bounded number of items."""
    made = itertools.count()
    produced = []
    go_on = threading.Event()
    written = []

    def source():
        for number in made:
            if number == 1000:
                return
            produced.append(number)
            yield number

    def sink(items):
        iterator = iter(items)
        written.append(next(iterator))
        assert go_on.wait(30)
        written.extend(iterator)

    def let_go():
        time.sleep(0.3)
        stalled.append(len(produced))
        go_on.set()

    stalled = []
    threading.Thread(target=let_go).start()
    run_stages(source(), lambda number: number * 2, sink, depth=4)
    assert written == [2 * number for number in range(1000)]
    # Two queues of four, and one item in the hands of each stage.
    assert 4 <= stalled[0] <= 4 + 4 + 3


@pytest.mark.parametrize("where", ["source", "work", "sink"])
def test_a_failing_stage_ends_the_others(where):
    closed = []

    def source():
        try:
            for number in itertools.count():
                if where == "source" and number == 5:
                    raise ValueError("source failed")
                yield number
        finally:
            closed.append("source")

    def work(number):
        if where == "work" and number == 5:
            raise ValueError("work failed")
        return number

    def sink(items):
        try:
            for number in items:
                if where == "sink" and number == 5:
                    raise ValueError("sink failed")
        finally:
            closed.append("sink")

    with pytest.raises(ValueError, match=f"{where} failed"):
        run_stages(source(), work, sink)
    assert sorted(closed) == ["sink", "source"]
    assert not [t for t in threading.enumerate() if t.name.startswith("srcnn-fused")]


FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "gray"),
    *("yuv420p10le", "yuv422p10le", "yuv444p10le", "gray10le", "yuv420p12le"),
]


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_frame_of_a_file_is_the_enlarged_one(clips, tmp_path, model, pix_fmt, full_range):
    """Lossless in, lossless out: planes against what the frame work gives for them, and formats."""
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    written = clips.make_clip(
        source,
        3,
        pix_fmt,
        options={"chroma_sample_location": "topleft"},
        color_range=2 if full_range else 1,
        colorspace=9,
        color_primaries=9,
        color_trc=14,
    )
    summary = upscale_video(source, target, model, codec="ffv1")
    assert (summary.width, summary.height, summary.frames) == (24, 20, 3)
    frames, first = clips.read_clip(target)
    assert first.format.name == pix_fmt
    assert (first.color_range, first.colorspace) == (2 if full_range else 1, 9)
    assert (first.color_primaries, first.color_trc) == (9, 14)
    kind = "grey" if pix_fmt.startswith("gray") else clips.kind_of(pix_fmt)
    form = PlaneFormat(kind, clips.depth_of(pix_fmt), full_range, "topleft")
    assert len(frames) == 3
    for planes, (_, got) in zip(written, frames, strict=True):
        assert_rounded(got[0], expected_luma(planes[0], model, form.depth, full_range), form.depth)
        for big, exact in zip(got, enlarge_planes(planes, model, form), strict=True):
            assert np.array_equal(big, exact)


@pytest.mark.parametrize(
    ("pix_fmt", "becomes", "notice"),
    [
        ("nv12", "yuv420p", None),
        ("yuv411p", "yuv422p", None),
        ("bgr0", "yuv444p", "its RGB (bgr0) is converted to Y'CbCr of BT.709"),
        ("yuva420p", "yuv420p", "its transparency is left out"),
    ],
)
def test_other_formats_become_the_nearest_planar_one(
    clips, tmp_path, model, pix_fmt, becomes, notice
):
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    codec = "rawvideo" if pix_fmt == "nv12" else "ffv1"
    frame = clips.make_frame(clips.random_planes("yuv444p"), "yuv444p").reformat(format=pix_fmt)

    def encode(container, stream):
        frame.pts = 0
        container.mux(stream.encode(frame))

    with clips.av.open(str(source), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 12, 10, pix_fmt
        encode(container, stream)
        container.mux(stream.encode(None))
    notices = []
    upscale_video(source, target, model, codec="ffv1", note=notices.append)
    assert notices == ([] if notice is None else [notice])
    (got,), first = clips.read_clip(target)
    assert first.format.name == becomes
    if pix_fmt == "nv12":  # nothing but another order of the same samples
        planes = clips.planes_of(frame.reformat(format="yuv420p"))
        for big, exact in zip(got[1], enlarge_planes(planes, model, PlaneFormat()), strict=True):
            assert np.array_equal(big, exact)
    if pix_fmt == "bgr0":
        assert (first.color_range, first.colorspace) == (1, 1)


@pytest.mark.parametrize(
    ("wanted", "known", "chosen"),
    [
        ("yuv420p", ["yuv444p", "yuv420p"], "yuv420p"),
        ("yuv420p", ["yuvj420p"], "yuv420p"),
        ("yuv420p10le", ["yuv420p", "p010le"], "p010le"),
        ("gray", ["yuv420p", "yuv444p"], "yuv420p"),
        ("yuv420p", ["yuv420p10le", "yuv422p"], "yuv422p"),
        ("yuv444p12le", ["yuv444p", "yuv420p12le", "yuv444p10le"], "yuv420p12le"),
        ("yuv422p10le", ["yuv420p", "yuv422p"], "yuv422p"),
        ("yuv420p", ["rgb24"], "rgb24"),
        ("yuv420p12le", [], "yuv420p12le"),
    ],
)
def test_an_encoder_gets_the_format_that_loses_least(clips, wanted, known, chosen):
    from srcnn_fused.video.formats import fitting_format

    assert fitting_format(wanted, known) == chosen


def test_y4m_and_its_siting(clips, tmp_path, model):
    source, target = tmp_path / "a.y4m", tmp_path / "b.y4m"
    location = {"chroma_sample_location": "topleft"}
    written = clips.make_clip(source, 2, "yuv420p", codec="rawvideo", options=location)
    assert upscale_video(source, target, model).encoder == "rawvideo"
    assert b" C420paldv " in target.read_bytes()[:60]
    frames, _ = clips.read_clip(target)
    exact = enlarge_planes(written[1], model, PlaneFormat(siting="topleft"))
    assert all(np.array_equal(a, b) for a, b in zip(frames[1][1], exact, strict=True))


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_a_varying_rate_and_the_last_duration_are_kept(clips, tmp_path, model, name):
    times = [0, 40, 45, 200, 1000, 1033]
    source, target = tmp_path / "a.mkv", tmp_path / name
    clips.make_clip(source, len(times), times=times, size=(16, 16))
    upscale_video(source, target, model)
    frames, _ = clips.read_clip(target)
    np.testing.assert_allclose(
        [seconds for seconds, _ in frames], np.array(times) / 1000, atol=1e-9
    )


def test_sound_chapters_attachments_and_metadata_come_along(clips, tmp_path, model):
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    chapter = {"id": 1, "start": 0, "end": 400, "metadata": {"title": "One"}}
    chapter["time_base"] = clips.Fraction(1, 1000)

    def change(container, stream):
        container.metadata["title"] = "A clip"
        stream.metadata["language"] = "fra"
        container.set_chapters([chapter])
        container.add_attachment("font.ttf", "font/ttf", b"not really")

    clips.make_clip(source, 10, sound=True, change=change)
    notices = []
    upscale_video(source, target, model, note=notices.append)
    assert notices == []
    assert clips.packets_of(target, "audio") == clips.packets_of(source, "audio")
    with clips.av.open(str(target)) as container:
        assert container.metadata["title"] == "A clip"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One"]
        (font,) = container.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", b"not really")
        (video,) = container.streams.video
        assert video.metadata["language"] == "fra"


def test_what_a_container_cannot_hold_is_named(clips, tmp_path, model):
    source, target = tmp_path / "a.mkv", tmp_path / "b.webm"
    clips.make_clip(source, 2, "yuv420p10le", sound=True, size=(16, 16))
    notices = []
    upscale_video(source, target, model, note=notices.append)
    assert "webm cannot hold its sound (pcm_s16le, #1): left out" in notices
    with clips.av.open(str(target)) as container:
        assert [s.codec_context.name for s in container.streams] == ["vp9"]


def test_subtitles_are_copied_or_named(clips, tmp_path, model):
    text = tmp_path / "a.srt"
    text.write_text("1\n00:00:00,040 --> 00:00:00,200\nGood evening.\n")
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    clips.make_clip(tmp_path / "silent.mkv", 10, size=(32, 32))
    parts = [tmp_path / "silent.mkv", text]
    clips.join(parts, source)
    notices = []
    upscale_video(source, target, model, note=notices.append)
    assert notices == []
    (line,) = clips.packets_of(target, "subtitles")
    assert line == b"Good evening."
    upscale_video(source, tmp_path / "b.mp4", model, note=notices.append)
    assert notices == ["mp4 cannot hold its subtitles (srt, #1): left out"]


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_rotation_is_kept(clips, tmp_path, model, name):
    source, target = tmp_path / "a.mp4", tmp_path / name

    def change(_, stream):
        stream.set_display_matrix([0, 65536, 0, -65536, 0, 0, 16 << 16, 0, 1 << 30])

    clips.make_clip(source, 2, codec="libx264", size=(16, 32), change=change)
    upscale_video(source, target, model)
    _, first = clips.read_clip(target)
    assert (first.width, first.height, first.rotation) == (64, 32, -90)
    if name == "b.mp4":  # the movement behind the turn, in pixels, grows with the frame
        assert clips.read_side_data(target)["DISPLAYMATRIX"][6] == 32 << 16
    notices = []
    upscale_video(source, tmp_path / "c.avi", model, note=notices.append)
    assert notices == [
        "avi cannot say that the picture is to be turned by -90 degrees; choose --ext mp4 or mkv"
    ]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_hdr10_metadata_are_kept(clips, tmp_path, model, codec):
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    parameters = (
        "mastering-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
        "L(10000000,50):cll=1000,400"
    )
    clips.make_clip(
        source,
        2,
        "yuv420p10le",
        codec="libx264",
        size=(64, 64),
        options={"x264-params": parameters},
        color_primaries=9,
        color_trc=16,
        colorspace=9,
    )
    upscale_video(source, target, model, codec=codec)
    sides = clips.read_side_data(target)
    numbers = sides["MASTERING_DISPLAY_METADATA"][:20].reshape(-1, 2)
    expected = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.005, 1000]
    np.testing.assert_allclose(numbers[:, 0] / numbers[:, 1], expected, rtol=2e-3)
    assert sides["CONTENT_LIGHT_LEVEL"].tolist() == [1000, 400]


def test_memory_does_not_depend_on_the_length(clips, tmp_path, model, monkeypatch):
    """Frames in flight while the encoder is far slower than everything else."""
    from srcnn_fused.video import files, reader, writer

    source = tmp_path / "a.mkv"
    clips.make_clip(source, 120, size=(4, 4))
    alive, most, lock = 0, 0, threading.Lock()
    item_of, frame_of = reader.VideoReader._item, writer.VideoWriter._frame

    def count(change):
        nonlocal alive, most
        with lock:
            alive += change
            most = max(most, alive)

    def read(self, *arguments):
        count(1)
        return item_of(self, *arguments)

    def write(self, item):
        time.sleep(0.002)
        count(-1)
        return frame_of(self, item)

    monkeypatch.setattr(reader.VideoReader, "_item", read)
    monkeypatch.setattr(writer.VideoWriter, "_frame", write)
    summary = files.upscale_video(source, tmp_path / "b.mkv", model, codec="ffv1")
    assert summary.frames == 120
    assert alive == 0
    assert 6 <= most <= 2 * 4 + 3


def test_the_target_is_checked_before_any_work(clips, tmp_path, model):
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    clips.make_clip(source)
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="overwrite is not set"):
        upscale_video(source, target, model)
    assert target.read_bytes() == b"precious"
    upscale_video(source, target, model, overwrite=True)
    assert len(clips.read_clip(target)[0]) == 3
    with pytest.raises(ValueError, match=r"target must end in one of \.mp4, .*, got 'b\.png'"):
        upscale_video(source, tmp_path / "b.png", model)
    with pytest.raises(ValueError, match="target must not be the source"):
        upscale_video(source, source, model, overwrite=True)
    with pytest.raises(ValueError, match="one channel"):
        upscale_video(source, tmp_path / "c.mkv", FusedSRCNN(3, scale=2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "b.mkv"]


def test_frames_that_change_their_size_are_refused(clips, tmp_path, model):
    """Two raw MPEG-4 streams of different sizes in one, under a name that FFmpeg sees through."""
    parts = []
    for number, size in enumerate(((32, 32), (48, 64))):
        part = tmp_path / f"{number}.m2v"
        clips.make_clip(part, 3, codec="mpeg2video", size=size)
        parts.append(part.read_bytes())
    source = tmp_path / "a.mkv"
    source.write_bytes(b"".join(parts))
    with pytest.raises(UserError, match=r"a\.mkv: its frames change from 32x32 to 64x48"):
        upscale_video(source, tmp_path / "b.mkv", model)
    assert not (tmp_path / "b.mkv").exists()


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("b.mp4", None, True),
        ("b.mkv", None, True),
        ("b.mkv", "libx265", True),
        ("b.mp4", "libsvtav1", True),
        ("b.webm", None, False),
        ("b.y4m", None, False),
    ],
)
def test_the_aspect_of_pixels_is_kept_or_named(clips, tmp_path, model, name, codec, kept):
    source, aspect = tmp_path / "a.mp4", clips.Fraction(4, 3)
    clips.make_clip(source, 2, codec="libx264", size=(32, 32), sample_aspect_ratio=aspect)
    notices = []
    upscale_video(source, tmp_path / name, model, codec=codec, note=notices.append)
    with clips.av.open(str(tmp_path / name)) as container:
        found = container.streams.video[0].sample_aspect_ratio or 0
    lost = "cannot be kept and is left out: the aspect of its pixels, 4/3"
    assert notices == ([] if kept else [lost])
    assert (float(found) == float(aspect)) == kept


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_every_encoder_keeps_number_and_times_of_frames(clips, tmp_path, model, codec, frames):
    source, target = tmp_path / "a.mp4", tmp_path / "b.mkv"
    clips.make_clip(source, frames, codec="libx264", size=(32, 32))
    upscale_video(source, target, model, codec=codec)
    got, _ = clips.read_clip(target)
    np.testing.assert_allclose([t for t, _ in got], np.arange(frames) / 25, atol=6e-4)
