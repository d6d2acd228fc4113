"""Video files: what becomes of frames, times, formats and everything else in them."""

import importlib
import threading
import time

import numpy as np
import pytest
from video_expected import assert_rounded, expected_luma

from srcnn_fused import FusedSRCNN
from srcnn_fused.errors import UserError
from srcnn_fused.video import PlaneFormat, enlarge_planes, upscale_video


@pytest.fixture(scope="module")
def model():
    return FusedSRCNN.from_pretrained("9-1-5-x2")


@pytest.fixture
def clips():
    pytest.importorskip("av")
    return importlib.import_module("video_clips")


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


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.mp4"])
def test_a_file_that_begins_later_is_whole(clips, tmp_path, model, name):
    times = list(range(2000, 2400, 40))
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    clips.make_clip(tmp_path / name, 10, codec=codec, size=(32, 32), times=times)
    notices = []
    upscale_video(tmp_path / name, tmp_path / "b.mkv", model, note=notices.append)
    assert notices == []
    frames, _ = clips.read_clip(tmp_path / "b.mkv")
    assert [round(1000 * time) for time, _ in frames] == times
    assert upscale_video(tmp_path / "b.mkv", tmp_path / "c.mkv", model).frames == 10


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("codec", ["libsvtav1", "mpeg4"])
def test_grey_keeps_its_values_where_an_encoder_has_none(clips, tmp_path, model, codec, full_range):
    """FFmpeg's own conversion would lift black by 16 * (1 - 219 / 255) and more."""

    def ramp(number, planes):
        planes[0][:] = np.linspace(16, 235, planes[0].shape[1]).astype(np.uint8)

    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    kind = {"color_range": 2 if full_range else 1}
    (planes,) = clips.make_clip(source, 1, "gray", size=(96, 128), fill=ramp, **kind)
    options = {"crf": 1} if codec == "libsvtav1" else {}
    upscale_video(source, target, model, codec=codec, **options)
    ((_, got),) = clips.read_clip(target)[0]
    exact = expected_luma(planes[0], model, 8, full_range)
    assert np.abs(got[0] - exact)[:, 8:-8].mean() < 2
    assert [round(float(plane.mean())) for plane in got[1:]] == [128, 128]


def test_an_encoder_may_go_by_its_codecs_name(clips, tmp_path, model):
    clips.make_clip(tmp_path / "a.mkv", 3, size=(33, 35))
    notices = []
    done = upscale_video(
        tmp_path / "a.mkv", tmp_path / "b.mkv", x3(model), codec="h264", note=notices.append
    )
    assert (done.encoder, done.width, done.height) == ("libx264", 104, 98)
    assert notices == ["libx264 takes even sizes only: 105x99 is cut to 104x98"]


def x3(model):
    larger = FusedSRCNN(1, kernel_sizes=model.kernel_sizes, scale=3)
    larger.load_state_dict(model.state_dict())
    return larger


def test_frames_that_do_not_come_are_counted(clips, tmp_path, model):
    """A file whose first key frame is gone: its decoder drops what leans on it."""
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    options = {"g": "10", "bf": "0", "sc_threshold": "0"}
    clips.make_clip(whole, 20, codec="libx264", size=(32, 32), options=options)
    clips.join([whole], cut, skip=1)
    notices = []
    done = upscale_video(cut, tmp_path / "b.mkv", model, note=notices.append)
    assert done.frames < 19
    assert f"{19 - done.frames} of the 19 packets of its video gave no frame" in notices


@pytest.mark.parametrize("pix_fmt", ["yuv411p", "yuva444p"])
def test_y4m_of_other_formats_is_whole(clips, tmp_path, model, pix_fmt):
    source = tmp_path / "a.y4m"
    with clips.av.open(str(source), "w", container_options={"strict": "unofficial"}) as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 8, pix_fmt
        for number in range(3):
            frame = clips.av.VideoFrame(16, 8, pix_fmt)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert upscale_video(source, tmp_path / "b.mkv", model, codec="ffv1").frames == 3


def test_a_target_that_comes_into_being_meanwhile_is_kept(clips, tmp_path, model):
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    clips.make_clip(source)
    with pytest.raises(FileExistsError, match="overwrite is not set"):
        upscale_video(
            source, target, model, progress=lambda done, total: target.write_bytes(b"mine")
        )
    assert target.read_bytes() == b"mine"
    (tmp_path / "c.mkv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"c\.mkv is a folder"):
        upscale_video(source, tmp_path / "c.mkv", model, overwrite=True)
