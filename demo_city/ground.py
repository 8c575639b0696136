"""Sky, road with its marks, pavements and the land beyond: what every street starts from."""

from dataclasses import dataclass

import cv2
import numpy as np

from demo_city.canvas import Canvas
from demo_city.classes import ROAD, SIDEWALK, SKY, TERRAIN
from demo_city.noise import fractal_noise

MARK = (214, 220, 222)


@dataclass(frozen=True)
class Street:
    """The cross-section of the street: X in metres, from the left plot to the right one.

    Attributes:
        left: X of the left kerb (negative).
        right: X of the right kerb.
        lane: Width of a lane.
        verge: Width of the grass strip between kerb and pavement; 0 for none.
        pavement: Width of the pavements.
        end: Z where the street ends at a crossing row of houses or trees.
    """

    left: float
    right: float
    lane: float
    verge: float
    pavement: float
    end: float

    def kerb(self, side: int) -> float:
        """X of the kerb on ``side`` (-1 left, 1 right)."""
        return self.left if side < 0 else self.right

    def front(self, side: int) -> float:
        """X of the line where the plots begin."""
        return self.kerb(side) + side * (self.verge + self.pavement)


def paint_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """A blue to hazy gradient with clouds, brighter towards the sun."""
    # Clouds are soft: half the canvas' resolution is enough
    height, width = canvas.height // 2, canvas.width // 2
    zenith = np.array(rng.choice([(214, 150, 92), (196, 158, 120), (208, 178, 150)], axis=0), np.float32)
    haze = np.array([234, 226, 214], np.float32)
    rows = np.clip(2 * np.arange(height) / max(canvas.centre_v, 1), 0, 1).astype(np.float32)[:, None, None]
    clouds = fractal_noise(rng, height, width, cells=3, octaves=5, stretch=2.6)
    alpha = np.clip((clouds - np.float32(rng.uniform(0.35, 0.7))) * 4, 0, 0.85)[..., None]
    body = fractal_noise(rng, height, width, cells=6, octaves=4, stretch=2)[..., None] * 50 + 200
    sun = np.abs(np.linspace(0, 1, width, dtype=np.float32) - np.float32(rng.uniform(-0.3, 1.3)))[
        None, :, None
    ]
    colour = zenith + (haze - zenith) * rows**0.8
    colour = (colour + (body - colour) * alpha) * (np.float32(1.06) - np.float32(0.16) * sun)
    small = np.clip(colour, 0, 255).astype(np.uint8)
    canvas.colour[:] = cv2.resize(small, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)
    canvas.label[:] = SKY


def paint_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Land to the horizon, then verge, pavement and road on top of it."""
    far = 400.0
    green = np.array([62, 118, 98]) * rng.uniform(0.8, 1.15)
    _strip(canvas, -300, 300, NEAR_Z, far, green, TERRAIN)
    asphalt = rng.uniform(84, 118) + np.array([3, 0, -2])
    paving = np.array([148, 156, 164]) * rng.uniform(0.85, 1.12)
    for side in (-1, 1):
        kerb, front = street.kerb(side), street.front(side)
        _strip(canvas, kerb + side * street.verge, front, NEAR_Z, street.end, paving, SIDEWALK)
        for edge in np.arange(2, 40, 1.5):
            z = float(edge)
            _strip(canvas, kerb + side * street.verge, front, z, z + 0.05, paving * 0.86, None)
    _strip(canvas, street.left, street.right, NEAR_Z, street.end, asphalt, ROAD)
    # The street that crosses at the end
    _strip(canvas, -300, 300, street.end - 1, street.end + 9, asphalt, ROAD)
    for side in (-1, 1):
        kerb = street.kerb(side)
        _strip(canvas, kerb, kerb + side * 0.25, NEAR_Z, street.end - 1, paving * 1.16, SIDEWALK)
        _strip(canvas, kerb - side * 0.5, kerb, NEAR_Z, street.end - 1, asphalt * 0.88, None)
    _paint_marks(canvas, street, rng)


def paint_ego_bonnet(canvas: Canvas, rng: np.random.Generator, void: int) -> None:
    """The bonnet of the car that carries the camera, at the lower edge: void in every picture."""
    height, width = canvas.height, canvas.width
    top = rng.uniform(0.905, 0.93)
    u = np.linspace(0, width, 40)
    bend = top + 0.075 * np.abs(u / width - 0.5) ** 2 * 4
    outline = np.column_stack([u, bend * height])
    shape = [np.round(np.vstack([outline, [(width, height), (0, height)]])).astype(np.int32)]
    paint = np.array([46, 40, 38]) * rng.uniform(0.6, 1.6)
    for layer, value in ((canvas.colour, paint.tolist()), (canvas.label, (void,)), (canvas.depth, (1.5,))):
        cv2.fillPoly(layer, shape, value)
    cv2.fillPoly(canvas.glow, shape, (0, 0, 0))
    # The sky in the varnish: a lighter band below the edge
    for step, gain in ((0.012, 1.9), (0.03, 1.4)):
        line = np.round(outline + np.array([0, step * height])).astype(np.int32)
        cv2.polylines(
            canvas.colour, [line], False, np.clip(paint * gain, 0, 255).tolist(), max(1, height // 90)
        )


NEAR_Z = 0.7


def _strip(canvas: Canvas, x0: float, x1: float, z0: float, z1: float, colour, label: int | None) -> None:
    canvas.polygon(
        [(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], np.clip(colour, 0, 255).tolist(), label
    )


def _paint_marks(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Lane lines (the middle one solid at times), edge lines and perhaps a zebra crossing."""
    lanes = max(2, round((street.right - street.left) / street.lane))
    shift = rng.uniform(0, 8)
    solid = rng.random() < 0.3
    for number in range(1, lanes):
        x = street.left + (street.right - street.left) * number / lanes
        middle = number == lanes // 2
        if middle and solid:
            _strip(canvas, x - 0.09, x + 0.09, NEAR_Z, street.end - 8, MARK, None)
            continue
        for z in np.arange(-8 + shift, min(street.end - 8, 120), 8):
            if z + 3.5 > NEAR_Z:
                _strip(canvas, x - 0.08, x + 0.08, max(float(z), NEAR_Z), float(z) + 3.5, MARK, None)
    if rng.random() < 0.45:
        z = rng.uniform(9, 26)
        for x in np.arange(street.left + 0.7, street.right - 0.9, 1.0):
            _strip(canvas, float(x), float(x) + 0.5, z, z + 3.2, MARK, None)
        _strip(canvas, street.left + 0.5, street.right - 0.5, z - 1.6, z - 1.2, MARK, None)
