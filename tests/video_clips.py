"""Tiny clips for the tests of video, and what is in a file. Needs PyAV."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SUBSAMPLED = {"420": (2, 2), "422": (1, 2), "444": (1, 1), "gray": None}


def kind_of(pix_fmt):
    return "gray" if pix_fmt.startswith("gray") else pix_fmt.removeprefix("yuv").lstrip("j")[:3]


def depth_of(pix_fmt):
    return next((depth for depth in (10, 12) if pix_fmt.endswith(f"{depth}le")), 8)


def random_planes(pix_fmt, height=10, width=12, seed=0):
    """Smooth noise over the whole range: Y, and Cb and Cr where there are any."""
    steps = SUBSAMPLED[kind_of(pix_fmt)]
    top = (1 << depth_of(pix_fmt)) - 1
    sizes = [(height, width)]
    if steps is not None:
        sizes += [(-(-height // steps[0]), -(-width // steps[1]))] * 2
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if top == 255 else np.uint16
    return [rng.integers(0, top + 1, size).astype(dtype) for size in sizes]


def view(plane, dtype):
    shape = plane.height, plane.width
    return np.ndarray(
        shape, dtype, buffer=plane, strides=(plane.line_size, np.dtype(dtype).itemsize)
    )


def planes_of(frame):
    dtype = np.uint8 if depth_of(frame.format.name) == 8 else np.uint16
    return [view(plane, dtype).copy() for plane in frame.planes]


def make_frame(planes, pix_fmt):
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pix_fmt)
    for target, plane in zip(frame.planes, planes, strict=True):
        view(target, plane.dtype)[:] = plane
    return frame


def make_clip(
    path,
    frames=3,
    pix_fmt="yuv420p",
    *,
    codec="ffv1",
    size=(10, 12),
    times=None,
    rate=25,
    sound=False,
    options=None,
    change=None,
    fill=None,
    **context,
):
    """Write a clip; returns the planes of its frames.

    times: of the frames in ms; default: by the rate.
    sound: whether to add a track of PCM.
    change: called with container and stream before anything is written.
    fill: called with the number and the planes of each frame, to change them.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    written = [random_planes(pix_fmt, *size, seed=number) for number in range(frames)]
    for number, planes in enumerate(written):
        if fill is not None:
            fill(number, planes)
    strict = {"strict": "unofficial"}
    with av.open(str(path), "w", container_options=strict) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], pix_fmt
        base = Fraction(1, 1000) if times else 1 / Fraction(rate)
        stream.codec_context.time_base = stream.time_base = base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        voice = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound else None
        if change is not None:
            change(container, stream)
        for number, planes in enumerate(written):
            frame = make_frame(planes, pix_fmt)
            for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
                if name in context:
                    setattr(frame, name, context[name])
            frame.pts, frame.time_base = (times[number] if times else number), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            length = 8000 * frames // rate
            samples = np.random.default_rng(9).integers(-9000, 9000, (1, length), np.int16)
            for start in range(0, length, 800):  # a tenth of a second each
                part = np.ascontiguousarray(samples[:, start : start + 800])
                block = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                block.sample_rate, block.pts, block.time_base = 8000, start, Fraction(1, 8000)
                container.mux(voice.encode(block))
            container.mux(voice.encode(None))
    return written


def join(paths, target, options=None, skip=0):
    """Copy all streams of some files into one, but for `skip` packets; video without B-frames."""
    with av.open(str(target), "w", options=options or {}) as container:
        sources = [av.open(str(path)) for path in paths]
        copies = {
            (number, stream.index): container.add_stream_from_template(stream, opaque=True)
            for number, source in enumerate(sources)
            for stream in source.streams
        }
        for number, source in enumerate(sources):
            for packet in itertools.islice(source.demux(), skip, None):
                if packet.size:
                    packet.stream = copies[number, packet.stream.index]
                    container.mux(packet)
            source.close()


def read_side_data(path):
    """What comes with the first frame, or, from PyAV 19 on, with the decoder, as int32."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        whole = getattr(container.streams.video[0].codec_context, "decoded_side_data", {})
        sides = [frame.side_data[index] for index in range(len(frame.side_data))]
        found = {kind.name: bytes(data) for kind, data in whole.items()}
        found.update({side.type.name: bytes(side) for side in sides})
    return {
        name: np.frombuffer(data, np.int32) for name, data in found.items() if len(data) % 4 == 0
    }


def read_clip(path):
    """All frames of a file as (seconds, planes), and the first frame itself."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(f.time, planes_of(f)) for f in frames], frames[0]


def packets_of(path, kind):
    """The bytes of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]
