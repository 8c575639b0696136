"""Cars, trucks, buses and trams: prisms along the street with windows, wheels and lights."""

import numpy as np

from demo_city.canvas import Canvas
from demo_city.classes import BUS, CAR, TRAIN, TRUCK

PAINTS = np.array(
    [(52, 52, 54), (190, 194, 196), (226, 228, 230), (40, 36, 150), (140, 74, 32), (96, 98, 100), (60, 92, 48),
     (36, 120, 190), (110, 60, 50), (30, 30, 34)]
)  # fmt: skip
GLASS = (74, 62, 52)
TAIL, HEAD = (40, 40, 220), (235, 245, 250)
TAIL_GLOW, HEAD_GLOW = (20, 20, 235), (220, 240, 255)
TYRE = (26, 26, 28)


def paint_car(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, towards: bool) -> None:
    """A car at ``x`` whose nearer end is at ``z``; ``towards``: it comes at the camera."""
    paint = PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.85, 1.1)
    scale = rng.uniform(0.94, 1.12)
    half, length, waist = 0.9 * scale, 4.3 * scale, 0.92 * scale
    roof = rng.uniform(1.4, 1.62) * scale
    sill = 0.26 * scale
    far = z + length
    _cast_shadow(canvas, x, half + 0.15, z - 0.3, far + 0.1)
    # Cabin: narrower at the top, set back from both ends.
    front, back = (1.2, 0.5) if towards else (0.35, 1.2)
    low_near, low_far = z + front * scale * 0.75, far - back * scale * 0.75
    top_near, top_far = z + (front + 0.55) * scale, far - (back + 0.5) * scale
    narrow = half * 0.8
    sides = (-1, 1)
    hidden = _facing(x, half)
    for side in sides:
        if side != hidden:
            continue
        low, top = x + side * half, x + side * narrow
        flank = [(low, sill, z), (low, waist, z), (low, waist * 0.98, far), (low, sill, far)]
        canvas.polygon(flank, _tone(paint, 0.74), CAR)
        cabin = [(low, waist, low_near), (top, roof, top_near), (top, roof, top_far), (low, waist, low_far)]
        canvas.polygon(cabin, _tone(paint, 0.8), CAR)
        canvas.polygon(_shrunk(cabin, 0.78), GLASS)
        for wheel in (z + 0.85 * scale, far - 0.9 * scale):
            _paint_wheel(canvas, low, wheel, 0.33 * scale, CAR)
    # Bonnet or boot, the pane, the end that faces us
    deck = [
        (x - half, waist, z),
        (x + half, waist, z),
        (x + half, waist, low_near),
        (x - half, waist, low_near),
    ]
    canvas.polygon(deck, _tone(paint, 1.12), CAR)
    pane = [
        (x - half, waist, low_near),
        (x + half, waist, low_near),
        (x + narrow, roof, top_near),
        (x - narrow, roof, top_near),
    ]
    canvas.polygon(pane, _tone(paint, 0.95), CAR)
    canvas.polygon(_shrunk(pane, 0.86), GLASS)
    for side in sides:
        canvas.board(_rect(x + side * half * 0.72, sill - 0.1, 0.14 * scale, 0.16), z, TYRE, CAR)
    end = [(x - half, sill), (x - half, waist), (x + half, waist), (x + half, sill)]
    canvas.board(end, z, _tone(paint, 1.0), CAR)
    canvas.board(_rect(x, sill + 0.1 * scale, half, 0.1 * scale), z, _tone(paint, 0.6))
    canvas.board(_rect(x, sill + 0.2 * scale, 0.26, 0.07), z, (222, 226, 226))
    _paint_lights(canvas, x, waist - 0.2 * scale, z, half * 0.78, 0.16 * scale, towards=towards)


def paint_truck(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, towards: bool) -> None:
    """A box truck: its load from behind, its cab from the front."""
    load = np.array(
        rng.choice([(206, 208, 208), (150, 120, 70), (70, 110, 190), (90, 140, 90)], axis=0)
    ) * rng.uniform(0.8, 1.05)
    half, height, floor = 1.25, rng.uniform(3.2, 3.8), 0.9
    far = z + 8.5
    _cast_shadow(canvas, x, half + 0.2, z - 0.5, far)
    _paint_box(canvas, x, half, floor, height, z + (2.0 if towards else 0.0), far, load, TRUCK)
    side = _facing(x, half)
    for wheel in (z + 1.1, far - 2.6, far - 1.4):
        _paint_wheel(canvas, x + side * half, wheel, 0.5, TRUCK)
    canvas.board(_rect(x, 0.55, half * 0.92, 0.35), z, (44, 44, 46), TRUCK)
    if towards:
        cab = PAINTS[rng.integers(len(PAINTS))]
        _paint_box(canvas, x, half * 0.96, 0.45, 2.8, z, z + 2.0, cab, TRUCK)
        canvas.board(_rect(x, 2.05, half * 0.84, 0.45), z, GLASS)
        canvas.board(_rect(x, 0.95, half * 0.5, 0.25), z, _tone(cab, 0.5))
    else:
        canvas.bar((x, floor + 0.1), (x, height - 0.1), z, 0.07, _tone(load, 0.6))
        for edge in (floor + 0.15, height - 0.15):
            canvas.bar((x - half, edge), (x + half, edge), z, 0.1, _tone(load, 0.75))
    _paint_lights(canvas, x, 0.72, z, half * 0.78, 0.16, towards=towards)


def paint_bus(
    canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, towards: bool, tram: bool = False
) -> None:
    """A city bus, or a tram (class train): long, with a band of windows and a line number."""
    label = TRAIN if tram else BUS
    choices = [(40, 60, 190), (90, 150, 60)] if tram else [(40, 170, 232), (60, 60, 200), (150, 110, 40)]
    paint = np.array(rng.choice(choices, axis=0)) * rng.uniform(0.85, 1.1)
    half, height, length = (1.2, 3.4, 24.0) if tram else (1.25, 3.0, 11.0)
    far = z + length
    _cast_shadow(canvas, x, half + 0.2, z - 0.5, far)
    _paint_box(canvas, x, half, 0.35, height, z, far, paint, label)
    side = _facing(x, half)
    wall = x + side * half
    for start in np.arange(z + 0.4, far - 1.4, 1.7):
        window = [
            (wall, 1.3, start),
            (wall, 2.4, start),
            (wall, 2.4, start + 1.45),
            (wall, 1.3, start + 1.45),
        ]
        canvas.polygon(window, GLASS, None, glow=(66, 104, 124))
    if not tram:
        for wheel in (z + 2.4, far - 2.6):
            _paint_wheel(canvas, wall, wheel, 0.48, label)
    canvas.board(_rect(x, 1.85, half * 0.88, 0.65), z, GLASS, glow=(24, 36, 42))
    canvas.board(_rect(x, height - 0.25, half * 0.6, 0.15), z, (30, 30, 30))
    canvas.board(_rect(x, height - 0.25, half * 0.4, 0.08), z, (60, 200, 250), glow=(30, 150, 250))
    canvas.board(_rect(x, 0.42, half, 0.1), z, (40, 40, 42))
    _paint_lights(canvas, x, 0.78, z, half * 0.76, 0.17, towards=towards)


def _facing(x: float, half: float) -> int:
    """Which flank the camera at X = 0 sees: -1 the left one, 1 the right one."""
    return -1 if x - half > 0 else 1


def _paint_box(
    canvas: Canvas, x: float, half: float, low: float, high: float, near: float, far: float, paint, label: int
) -> None:
    flank = x + _facing(x, half) * half
    corners = [(flank, low, near), (flank, high, near), (flank, high, far), (flank, low, far)]
    canvas.polygon(corners, _tone(paint, 0.76), label)
    canvas.board(
        [(x - half, low), (x - half, high), (x + half, high), (x + half, low)], near, _tone(paint, 1.0), label
    )


def _paint_wheel(canvas: Canvas, x: float, z: float, radius: float, label: int) -> None:
    """A wheel on a flank: a disc in the plane of constant X."""
    angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    for share, colour, name in ((1.0, TYRE, label), (0.55, (120, 122, 124), None)):
        rim = [(x, radius + radius * share * np.sin(a), z + radius * share * np.cos(a)) for a in angles]
        canvas.polygon(rim, colour, name)


def _paint_lights(
    canvas: Canvas, x: float, y: float, z: float, offset: float, size: float, *, towards: bool
) -> None:
    colour, glow = (HEAD, HEAD_GLOW) if towards else (TAIL, TAIL_GLOW)
    for side in (-1, 1):
        canvas.board(_rect(x + side * offset, y, size, size * 0.7), z, colour, None, glow=glow)


def _cast_shadow(canvas: Canvas, x: float, half: float, near: float, far: float) -> None:
    canvas.shade([(x - half, near), (x + half, near), (x + half + 0.5, far), (x - half + 0.5, far)], 0.42)


def _rect(x: float, y: float, half_width: float, half_height: float) -> list[tuple[float, float]]:
    return [
        (x - half_width, y - half_height),
        (x - half_width, y + half_height),
        (x + half_width, y + half_height),
        (x + half_width, y - half_height),
    ]


def _shrunk(points, share: float) -> np.ndarray:
    corners = np.asarray(points, np.float64)
    middle = corners.mean(axis=0)
    return middle + (corners - middle) * share


def _tone(colour, gain: float) -> list[float]:
    return np.clip(np.asarray(colour) * gain, 0, 255).tolist()
