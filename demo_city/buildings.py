"""Houses along both sides of the street and across its end, with windows, doors and roofs."""

import numpy as np

from demo_city.canvas import Canvas
from demo_city.classes import BUILDING

PLASTERS = np.array(
    [(168, 196, 214), (150, 172, 190), (128, 148, 176), (120, 128, 162), (190, 204, 210), (146, 140, 138),
     (96, 108, 150), (170, 186, 176), (84, 92, 122), (176, 168, 158), (140, 180, 206)]
)  # fmt: skip
LIT = (70, 130, 180)  # a lamp behind a window


def paint_house(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    side: int,
    x: float,
    z0: float,
    z1: float,
    storeys: int,
    light: float,
) -> None:
    """A house whose front stands along the street.

    Args:
        canvas: Where to paint.
        rng: Decides its looks.
        side: -1 on the left of the street, 1 on the right.
        x: X of its front.
        z0: Where its front begins, Z in metres.
        z1: Where it ends.
        storeys: Floors of 3.1 m.
        light: Brightness of its front, about 1 (in the sun) or 0.75.
    """
    wall = np.clip(PLASTERS[rng.integers(len(PLASTERS))] * rng.uniform(0.82, 1.12), 0, 255)
    top = 3.1 * storeys + 0.8
    depth = rng.uniform(9, 13)
    roof = np.array(rng.choice([(62, 70, 108), (70, 72, 76), (58, 66, 84)], axis=0)) * rng.uniform(0.8, 1.2)
    pitched = rng.random() < 0.5
    ridge = top + rng.uniform(1.8, 3.2) if pitched else top
    # The gable wall that faces the camera, then the roof's slope, then the front.
    gable = [(x, 0, z0), (x, top, z0), (x + side * depth / 2, ridge, z0), (x + side * depth, top, z0)]
    canvas.polygon([*gable, (x + side * depth, 0, z0)], _tone(wall, 1.6 - light), BUILDING)
    _paint_gable_windows(canvas, rng, wall, side=side, x=x, z=z0, depth=depth, storeys=storeys)
    if pitched:
        slope = [(x - side * 0.3, top, z0), (x - side * 0.3, top, z1)]
        canvas.polygon(
            [*slope, (x + side * depth / 2, ridge, z1), (x + side * depth / 2, ridge, z0)], roof, BUILDING
        )
    canvas.polygon([(x, 0, z0), (x, top, z0), (x, top, z1), (x, 0, z1)], _tone(wall, light), BUILDING)
    if not pitched:
        _front(canvas, x, top - 0.4, top, z0, z1, _tone(wall, light * 0.78))
    _front(canvas, x, 0, 0.6, z0, z1, _tone(wall, light * 0.7))
    _paint_windows(canvas, rng, wall * light, side=side, x=x, z0=z0, z1=z1, storeys=storeys)


def paint_house_across(
    canvas: Canvas, rng: np.random.Generator, *, x0: float, x1: float, z: float, storeys: int
) -> None:
    """A house that faces the camera, at the far end of the street."""
    wall = np.clip(PLASTERS[rng.integers(len(PLASTERS))] * rng.uniform(0.8, 1.05), 0, 255)
    top = 3.1 * storeys + 0.8
    canvas.board([(x0, 0), (x0, top), (x1, top), (x1, 0)], z, wall.tolist(), BUILDING)
    canvas.board([(x0, top - 0.5), (x0, top), (x1, top), (x1, top - 0.5)], z, _tone(wall, 0.6))
    for floor in range(storeys):
        for x in np.arange(x0 + 0.8, x1 - 1.6, 2.6):
            low = 3.1 * floor + 1.1
            glow = LIT if rng.random() < 0.3 else None
            corners = [(x, low), (x, low + 1.5), (x + 1.2, low + 1.5), (x + 1.2, low)]
            canvas.board(corners, z, _glass(rng), glow=glow)


def _paint_windows(
    canvas: Canvas,
    rng: np.random.Generator,
    wall: np.ndarray,
    *,
    side: int,
    x: float,
    z0: float,
    z1: float,
    storeys: int,
) -> None:
    """Rows of windows; on the ground floor shops or a door."""
    count = max(1, int((z1 - z0) / rng.uniform(2.3, 3.4)))
    pitch = (z1 - z0) / count
    width, height = pitch * rng.uniform(0.4, 0.6), rng.uniform(1.4, 1.8)
    frame = np.clip(wall * rng.choice([0.6, 1.25]), 0, 255)
    shops = rng.random() < 0.45
    awning = rng.integers(40, 200, 3)
    if z1 < 2:
        return
    for floor in range(storeys):
        for number in range(count):
            middle = z0 + pitch * (number + 0.5)
            if middle - width < 1:
                continue
            low, high, half = 3.1 * floor + 1.0, 3.1 * floor + 1.0 + height, width / 2
            if floor == 0 and shops:
                low, high, half = 0.5, 2.5, pitch * 0.43
            elif floor == 0 and number == count // 2:
                low, half = 0.1, min(half, 0.55)
            lit = rng.random() < (0.8 if floor == 0 and shops else 0.33)
            rim = 0.12
            _front(canvas, x, low - rim, high + rim, middle - half - rim, middle + half + rim, frame.tolist())
            _front(canvas, x, low, high, middle - half, middle + half, _glass(rng), LIT if lit else None)
            if middle < 40:
                _front(canvas, x, low, high, middle - 0.04, middle + 0.04, frame.tolist())
    if shops:
        _front(canvas, x, 2.62, 3.1, z0 + 0.3, z1 - 0.3, awning.tolist(), (awning * 0.5).tolist())


def _paint_gable_windows(
    canvas: Canvas,
    rng: np.random.Generator,
    wall: np.ndarray,
    *,
    side: int,
    x: float,
    z: float,
    depth: float,
    storeys: int,
) -> None:
    for floor in range(1, storeys):
        for offset in (0.3, 0.65):
            if rng.random() < 0.6:
                middle, low = x + side * depth * offset, 3.1 * floor + 1.0
                corners = [
                    (middle - 0.5, low),
                    (middle - 0.5, low + 1.4),
                    (middle + 0.5, low + 1.4),
                    (middle + 0.5, low),
                ]
                canvas.board(corners, z, _glass(rng), glow=LIT if rng.random() < 0.3 else None)


def _front(
    canvas: Canvas, x: float, low: float, high: float, z0: float, z1: float, colour, glow=None
) -> None:
    """A detail on the wall at ``x``: a rectangle between two heights and two depths."""
    canvas.polygon([(x, low, z0), (x, high, z0), (x, high, z1), (x, low, z1)], colour, None, glow=glow)


def _glass(rng: np.random.Generator) -> list[float]:
    tone = rng.uniform(40, 105)
    return [tone * 1.12, tone * 1.02, tone * 0.95]


def _tone(colour: np.ndarray, gain: float) -> list[float]:
    return np.clip(colour * gain, 0, 255).tolist()
