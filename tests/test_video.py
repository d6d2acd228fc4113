"""Video: planes against the network and bicubic called directly, chroma's place, stages."""

import copy
import itertools
import math
import threading
import time

import numpy as np
import pytest
import torch
from video_expected import assert_rounded, expected_luma

from srcnn_fused import FusedSRCNN, bicubic_resize
from srcnn_fused.upscale import enlarge
from srcnn_fused.video import PlaneFormat, enlarge_planes
from srcnn_fused.video.chroma import SITINGS, enlarge_chroma, siting_shift
from srcnn_fused.video.stages import run_stages


@pytest.fixture(scope="module")
def model():
    return FusedSRCNN.from_pretrained("9-1-5-x2")


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
