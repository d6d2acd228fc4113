"""The picture of `srcnn-fused demo`: a sunflower behind a spider's web, made by NumPy alone.

It has what enlarging is judged by: curved edges, fine texture that changes direction (the seeds),
lines under a pixel wide (the web, the veins of petals), and smooth gradients. Coordinates are
units of half the picture's side, with the centre at (0, 0), y downwards.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["paint"]

Array = npt.NDArray[Any]

_SUPERSAMPLING = 3  # rendered that much larger and averaged down, as a camera's sensor does
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_FLOWER = (0.17, 0.13)  # where its centre lies
_HEAD = 0.44  # radius of the seed head
# Where the light comes from; unit length.
_LIGHT = (-0.55, -0.65, 0.52)


def paint(side: int = 480) -> npt.NDArray[np.uint8]:
    """The picture, ``[side, side, 3]``; the same every time."""
    fine = side * _SUPERSAMPLING
    canvas = _Canvas(fine, np.random.default_rng(20141501))
    _paint_background(canvas)
    _paint_leaves(canvas)
    _paint_petals(canvas)
    _paint_head(canvas)
    _paint_web(canvas)
    _paint_dew(canvas)
    linear = canvas.colours.reshape(side, _SUPERSAMPLING, side, _SUPERSAMPLING, 3).mean((1, 3))
    encoded = np.clip(linear, 0, 1) ** (1 / 2.2)
    pixels: npt.NDArray[np.uint8] = np.floor(encoded * 255 + 0.5).astype(np.uint8)
    return pixels


class _Canvas:
    """Linear-light colours ``[n, n, 3]``, painted over through masks, part by part."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n = n
        self.rng = rng
        axis = ((np.arange(n, dtype=np.float32) + 0.5) * (2 / n) - 1).astype(np.float32)
        self.x, self.y = np.meshgrid(axis, axis)
        self.colours = np.zeros((n, n, 3), np.float32)
        self.pixel = 2 / n

    def window(self, x: float, y: float, radius: float) -> tuple[slice, slice]:
        """The part within ``radius`` of a point (none of it where that lies outside)."""

        def span(centre: float) -> slice:
            start = int((centre - radius + 1) / self.pixel)
            stop = int((centre + radius + 1) / self.pixel) + 2
            return slice(min(max(start, 0), self.n), min(max(stop, 0), self.n))

        return span(y), span(x)

    def cover(self, where: tuple[slice, slice], mask: Array, colours: Array) -> None:
        """Lay colours ``[h, w, 3]`` over a part, as opaque as ``mask [h, w]`` says."""
        part = self.colours[where]
        part += mask[..., None] * (colours - part)

    def edge(self, distance: Array) -> Array:
        """1 inside (distance < 0), 0 outside, a pixel-wide ramp between."""
        ramp: Array = np.clip(0.5 - distance / self.pixel, 0, 1)
        return ramp


def _colour(*rgb: float) -> Array:
    """sRGB in [0, 1] -> linear light."""
    linear: Array = np.array(rgb, np.float32) ** np.float32(2.2)
    return linear


def _smooth(low: float, high: float, x: Array) -> Array:
    t = np.clip((x - low) / (high - low), 0, 1)
    step: Array = t * t * (3 - 2 * t)
    return step


def _arch(t: Array, skew: float) -> Array:
    """0 at both ends of [0, 1], 1 between; the top lies towards the end where skew < 1."""
    arch: Array = np.clip(np.sin(math.pi * t**skew), 0, 1)
    return arch


def _mix(a: Array, b: Array, t: Array) -> Array:
    mixed: Array = a + (b - a) * t[..., None]
    return mixed


def _noise(canvas: _Canvas, cells: int) -> Array:
    """Smooth noise in [0, 1] over the whole canvas, about ``cells`` bumps wide."""
    grid = canvas.rng.random((cells + 2, cells + 2), dtype=np.float32)
    position = (np.arange(canvas.n, dtype=np.float32) + 0.5) * (cells / canvas.n)
    index = position.astype(np.int64)
    t = position - index
    t = t * t * (3 - 2 * t)
    rows = grid[index] * (1 - t)[:, None] + grid[index + 1] * t[:, None]
    bumps: Array = rows[:, index] * (1 - t) + rows[:, index + 1] * t
    return bumps


def _paint_background(canvas: _Canvas) -> None:
    """An out-of-focus garden: a gradient, soft patches, and discs of light."""
    rng = canvas.rng
    height = (canvas.y + 1) / 2
    base = _mix(_colour(0.52, 0.72, 0.78), _colour(0.10, 0.24, 0.17), _smooth(0.0, 0.95, height))
    patches = _noise(canvas, 4) * 0.65 + _noise(canvas, 9) * 0.35
    canvas.colours[:] = _mix(base, _colour(0.30, 0.47, 0.24), 0.75 * _smooth(0.35, 0.75, patches))
    for _ in range(46):
        x, y = rng.uniform(-1.1, 1.1), rng.uniform(-1.1, 0.9)
        radius = rng.uniform(0.04, 0.15)
        where = canvas.window(x, y, radius * 1.2)
        distance = np.hypot(canvas.x[where] - x, canvas.y[where] - y)
        disc = 1 - _smooth(radius * 0.88, radius * 1.08, distance)
        rim = 0.7 + 0.5 * _smooth(radius * 0.6, radius * 0.95, distance)
        light = _mix(_colour(0.95, 0.95, 0.70), _colour(0.65, 0.90, 0.85), np.full(1, rng.random()))
        opacity = (rng.uniform(0.06, 0.24) * disc * rim).astype(np.float32)
        canvas.cover(where, opacity, light)


def _paint_leaves(canvas: _Canvas) -> None:
    """Two leaves with toothed edges and a net of veins."""
    for x, y, angle, length, width in (
        (-0.30, 0.62, 2.55, 1.00, 0.36),
        (0.55, 0.75, 0.62, 0.80, 0.34),
        (-0.02, 0.86, 1.75, 0.70, 0.26),
    ):
        where = canvas.window(
            x + math.cos(angle) * length / 2, y + math.sin(angle) * length / 2, length * 0.75
        )
        u, v = _local(canvas, where, x, y, angle)
        t = u / length
        bend = 0.05 * np.sin(3 * t)
        v = v - bend
        inside = np.clip(t, 0, 1)
        half = width * _arch(inside, 0.75) ** 0.9
        teeth = 0.010 * np.abs((inside * 26 + 0.5 * np.sign(v)) % 1 - 0.5) * (inside > 0.02)
        outline = np.where((t > 0) & (t < 1), np.abs(v) - half + teeth, 1.0).astype(np.float32)
        side = np.abs(v)
        # Side veins leave the midrib at an angle and curve towards the tip.
        phase = (t * 8 - side * 10 + 22 * side * side) % 1
        vein = np.exp(-(((phase - 0.5) / 0.045) ** 2)) * (
            1 - _smooth(0.6, 1.0, side / (half + 1e-3))
        )
        rib = np.exp(-((side / (0.008 * (1.2 - inside))) ** 2))
        net = np.sin(60 * t + 40 * side) * np.sin(75 * v + 35 * t)
        shade = 0.62 + 0.30 * np.cos((phase - 0.5) * 2 * math.pi) * 0.5 + 0.05 * net
        shade = shade * (1.12 - 0.35 * _smooth(-width, width, v))
        colours = _colour(0.27, 0.50, 0.19) * shade[..., None].astype(np.float32)
        lines = np.clip(0.55 * vein + 0.8 * rib, 0, 1).astype(np.float32)
        colours = _mix(colours, _colour(0.63, 0.76, 0.42), lines)
        canvas.cover(where, canvas.edge(outline), colours)


def _local(
    canvas: _Canvas, where: tuple[slice, slice], x: float, y: float, angle: float
) -> tuple[Array, Array]:
    """Coordinates along and across a direction, from a point."""
    dx, dy = canvas.x[where] - np.float32(x), canvas.y[where] - np.float32(y)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return dx * cos + dy * sin, dy * cos - dx * sin


def _paint_petals(canvas: _Canvas) -> None:
    """Three rings of petals, each casting its shadow on those below."""
    rng = canvas.rng
    for ring, (count, length, brightness) in enumerate(
        ((16, 0.56, 0.66), (16, 0.50, 0.86), (13, 0.40, 1.0))
    ):
        for index in rng.permutation(count):
            angle = 2 * math.pi * (index + 0.37 * ring + rng.uniform(-0.2, 0.2)) / count
            _paint_petal(
                canvas,
                angle,
                length * rng.uniform(0.88, 1.10),
                rng.uniform(0.100, 0.124),
                brightness * rng.uniform(0.90, 1.06),
                rng.uniform(-0.10, 0.10),
                rng.uniform(0, 10),
            )


def _paint_petal(
    canvas: _Canvas,
    angle: float,
    length: float,
    width: float,
    brightness: float,
    bend: float,
    seed: float,
) -> None:
    start = _HEAD * 0.82
    reach = length + _HEAD - start
    middle = start + reach / 2
    centre = _FLOWER[0] + math.cos(angle) * middle, _FLOWER[1] + math.sin(angle) * middle
    where = canvas.window(*centre, reach * 0.62 + width)
    if canvas.x[where].size == 0:
        return
    u, v = _local(canvas, where, *_FLOWER, angle)
    t = (u - start) / reach
    v = v - bend * t * t * reach
    inside = np.clip(t, 0, 1)
    half = width * (_arch(inside, 0.85) ** 0.65) * (1 - 0.25 * inside)
    half = half * (1 + 0.03 * np.sin(19 * inside + seed) + 0.02 * np.sin(41 * inside + 2 * seed))
    outline = np.where((t > 0) & (t < 1), np.abs(v) - half, 0.5).astype(np.float32)
    # The shadow falls away from the light and fades with distance.
    shadow = 0.45 * (1 - _smooth(-0.012, 0.030, outline))
    canvas.colours[where] *= 1 - shadow[..., None].astype(np.float32)

    across = v / (half + 1e-4)  # -1 .. 1
    folds = np.cos(across * 2.2 * math.pi + 0.4 * np.sin(5 * t + seed)) * 0.10
    veins = np.sin(across * 12 + 1.5 * np.sin(4 * t + seed)) * 0.5 + 0.5
    fine = np.sin(across * 25 + 3 * np.sin(3 * t + 2 * seed)) * 0.5 + 0.5
    crease = np.exp(-((across / 0.10) ** 2))
    tilt = -(math.sin(angle) * _LIGHT[0] - math.cos(angle) * _LIGHT[1])
    shade = 0.86 + folds - 0.17 * veins**3 - 0.07 * fine - 0.20 * crease + 0.24 * tilt * across
    shade = shade * (1 - 0.32 * _smooth(0.70, 1.0, np.abs(across))) * brightness
    colours = _mix(_colour(0.86, 0.42, 0.03), _colour(1.0, 0.80, 0.10), _smooth(0.0, 0.55, t))
    colours = _mix(colours, _colour(1.0, 0.90, 0.36), 0.6 * _smooth(0.6, 1.0, t))
    colours = colours * shade[..., None].astype(np.float32)
    canvas.cover(where, canvas.edge(outline), colours)


def _paint_head(canvas: _Canvas) -> None:
    """The seed head: florets on Vogel's spiral, lit like small cushions on a shallow dome."""
    rng = canvas.rng
    x0, y0 = _FLOWER
    where = canvas.window(x0, y0, _HEAD * 1.1)
    distance = np.hypot(canvas.x[where] - x0, canvas.y[where] - y0)
    canvas.colours[where] *= (
        1 - 0.55 * (1 - _smooth(_HEAD * 0.94, _HEAD * 1.10, distance))[..., None]
    )
    disc = canvas.edge((distance - _HEAD * 0.97).astype(np.float32))
    canvas.cover(where, disc, np.broadcast_to(_colour(0.12, 0.06, 0.03), (*disc.shape, 3)))

    count = 250
    for index in range(count, 0, -1):
        part = math.sqrt(index / count)  # 0 in the middle, 1 at the rim
        angle = index * _GOLDEN_ANGLE
        radius = _HEAD * part
        x, y = x0 + radius * math.cos(angle), y0 + radius * math.sin(angle)
        size = _HEAD * (0.051 + 0.021 * part) * rng.uniform(0.92, 1.08)
        spot = canvas.window(x, y, size * 2)
        if canvas.x[spot].size == 0:
            continue
        u, v = _local(canvas, spot, x, y, angle)
        u, v = u / (size * 1.25), v / (size * 0.92)
        squared = u * u + v * v
        bulge = np.sqrt(np.clip(1 - squared, 0, 1))
        # Normal of the cushion, turned back to the picture's axes, on top of the dome's.
        cos, sin = math.cos(angle), math.sin(angle)
        normal_x = 0.8 * (u * cos - v * sin) + 0.45 * part * cos
        normal_y = 0.8 * (u * sin + v * cos) + 0.45 * part * sin
        length = np.sqrt(normal_x**2 + normal_y**2 + (bulge + 0.25) ** 2)
        lit = normal_x * _LIGHT[0] + normal_y * _LIGHT[1] + (bulge + 0.25) * _LIGHT[2]
        lit = np.clip(lit / length, 0, 1)
        ring = np.float32(math.exp(-(((part - 0.60) / 0.16) ** 2)))
        outer = np.float32(_smooth(0.72, 0.95, np.full(1, part, np.float32))[0])
        green = np.float32(1 - _smooth(0.10, 0.42, np.full(1, part, np.float32))[0])
        base = _colour(0.42, 0.22, 0.08) * (1 - outer) + _colour(0.60, 0.33, 0.06) * outer
        base = base + ring * (_colour(0.30, 0.13, 0.05) - base) * np.float32(0.8)
        base = base + green * (_colour(0.50, 0.50, 0.16) - base)
        base = base * np.float32(rng.uniform(0.8, 1.2))
        tip = np.exp(-(squared / 0.10)) * (0.35 + 0.55 * outer + 0.4 * green)
        colours = base * (0.25 + 1.25 * lit[..., None]) + _colour(1.0, 0.78, 0.28) * (tip * lit)[
            ..., None
        ].astype(np.float32)
        colours = colours + (0.30 * lit**18)[..., None]
        mask = canvas.edge(((np.sqrt(squared) - 1) * size).astype(np.float32))
        canvas.cover(spot, mask, colours.astype(np.float32))


def _paint_web(canvas: _Canvas) -> None:
    """A spider's web in the upper left corner, of threads a finished pixel wide."""
    rng = canvas.rng
    hub = (-0.72, -0.70)
    x, y = canvas.x - hub[0], canvas.y - hub[1]
    radius = np.hypot(x, y)
    angle = np.arctan2(y, x)
    spokes = np.sort((np.arange(14) + rng.uniform(-0.22, 0.22, 14)) * (2 * math.pi / 14) - math.pi)
    thread = 0.85 * canvas.pixel * _SUPERSAMPLING  # width
    web = np.zeros_like(radius)
    reach = 0.56
    fade = 1 - _smooth(reach * 0.9, reach * 1.25, radius)
    for spoke in spokes:
        turn = angle - spoke
        across = np.abs(radius * np.sin(turn)).astype(np.float32)
        ahead = np.cos(turn) > 0
        web = np.maximum(web, canvas.edge(across - thread / 2) * ahead)
    # Between two spokes the spiral hangs through a little.
    following = np.append(spokes[1:], spokes[0] + 2 * math.pi)
    index = np.searchsorted(spokes, angle) - 1
    index = np.where(index < 0, len(spokes) - 1, index)
    gap = (following - spokes)[index]
    inside = np.where(angle < spokes[0], angle + 2 * math.pi, angle) - spokes[index]
    part = inside / gap
    chord = np.cos(gap / 2) / np.cos((part - 0.5) * gap)  # a straight thread between the spokes
    sag = chord * (1 - 0.05 * np.sin(math.pi * part))
    pitch = 0.080
    turns = radius / sag / pitch - (index + part) / len(spokes)
    wobble = np.abs(turns - np.round(turns)) * pitch
    spiral = canvas.edge((wobble - thread * 0.36).astype(np.float32))
    spiral = spiral * (np.round(turns) > 1) * (np.round(turns) * pitch < reach)
    web = np.maximum(web, 0.85 * spiral) * fade
    sheen = 0.45 + 0.55 * _smooth(-0.2, 1.0, np.cos(angle * 2 + 0.8).astype(np.float32))
    everywhere = (slice(None), slice(None))
    white = np.broadcast_to(_colour(0.97, 0.98, 1.0), (*web.shape, 3))
    canvas.cover(everywhere, (0.72 * web * sheen).astype(np.float32), white)


def _paint_dew(canvas: _Canvas) -> None:
    """Drops of water: they darken towards the light, glow on the far side, and glint."""
    for x, y, radius in (
        (0.66, 0.40, 0.050),
        (0.74, 0.30, 0.024),
        (0.02, 0.66, 0.042),
        (-0.42, 0.34, 0.036),
        (0.50, -0.44, 0.040),
        (0.84, 0.02, 0.034),
        (-0.56, 0.80, 0.052),
        (-0.68, 0.70, 0.026),
        (0.30, 0.72, 0.026),
    ):
        where = canvas.window(x, y, radius * 1.7)
        u = (canvas.x[where] - x) / radius
        v = (canvas.y[where] - y) / radius
        distance = np.hypot(u, v)
        along = u * _LIGHT[0] + v * _LIGHT[1]  # positive towards the light
        cast = np.hypot(u - 0.35, v - 0.42)
        canvas.colours[where] *= (1 - 0.45 * (1 - _smooth(0.75, 1.25, cast)))[..., None]
        part = canvas.colours[where]
        bulge = np.sqrt(np.clip(1 - distance**2, 0, 1))
        glow = 0.78 - 0.45 * along + 0.25 * (1 - bulge)
        body = part * glow[..., None] * 1.25 + 0.035
        rim = np.exp(-(((distance - 0.93) / 0.07) ** 2)) * (0.5 - 0.5 * along)
        glint = np.exp(-(((u + 0.38) ** 2 + (v + 0.42) ** 2) / 0.030))
        body = body + (0.30 * rim + 1.6 * glint)[..., None]
        canvas.cover(
            where,
            canvas.edge(((distance - 1) * radius).astype(np.float32)),
            body.astype(np.float32),
        )
