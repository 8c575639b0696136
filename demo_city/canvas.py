"""A canvas that paints colour, label, depth and glow of one street scene at once.

World: metres, X to the right, Y up from the road, Z ahead of the camera. Image: pixels, u right, v down.
Shapes are painted far to near (the painter's algorithm) without anti-aliasing, the same pixels in every
layer; the canvas is larger than the picture, which is shrunk at the end, so that edges come out smooth
and every label is still a real one.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from demo_city.classes import GROUND, SKY

# (B, G, R), 0 to 255
Colour = Sequence[float] | np.ndarray
# (N, 2) or (N, 3) world coordinates in metres
Points = Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray
_SUBPIXEL_BITS = 4
_SUBPIXEL = 1 << _SUBPIXEL_BITS
FAR = 1000.0  # metres: the depth of the sky
NEAR = 0.6  # metres: nothing nearer is painted


class Canvas:
    """Layers of one picture, all (height, width) in canvas pixels.

    Args:
        width: Canvas pixels.
        height: Canvas pixels.
        eye: Height of the camera above the road, in metres.
        horizon: Row of the horizon as a share of the height.
        vanishing: Column of the vanishing point as a share of the width.
        focal: Focal length as a share of the height (Cityscapes: 2.2).

    Attributes:
        colour: (height, width, 3) uint8, BGR.
        label: (height, width) uint8, trainIds.
        depth: (height, width) float32, metres along Z.
        glow: (height, width, 3) uint8, BGR: light that surfaces send out by themselves after dark.
    """

    def __init__(
        self, width: int, height: int, *, eye: float, horizon: float, vanishing: float, focal: float = 2.2
    ):
        self.width, self.height, self.eye = width, height, eye
        self._view = (horizon, vanishing, focal)
        self.focal = focal * height
        self.centre_u, self.centre_v = vanishing * width, horizon * height
        self.colour = np.zeros((height, width, 3), np.uint8)
        self.label = np.full((height, width), SKY, np.uint8)
        self.depth = np.full((height, width), FAR, np.float32)
        self.glow = np.zeros((height, width, 3), np.uint8)
        # Viewing rays (x, y) at Z = 1 of every column and row
        self.ray_x = ((np.arange(width) + 0.5 - self.centre_u) / self.focal).astype(np.float32)
        self.ray_y = ((self.centre_v - np.arange(height) - 0.5) / self.focal).astype(np.float32)

    def shrunk(self, factor: int) -> 'Canvas':
        """The finished canvas at 1/``factor`` of its size: colours averaged, labels and depth picked."""
        horizon, vanishing, focal = self._view
        width, height = self.width // factor, self.height // factor
        small = Canvas(width, height, eye=self.eye, horizon=horizon, vanishing=vanishing, focal=focal)
        size, pick = (width, height), slice(factor // 2, None, factor)
        small.colour = cv2.resize(self.colour, size, interpolation=cv2.INTER_AREA)
        small.glow = cv2.resize(self.glow, size, interpolation=cv2.INTER_AREA)
        small.label = np.ascontiguousarray(self.label[pick, pick])
        small.depth = np.ascontiguousarray(self.depth[pick, pick])
        return small

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) with Z > 0 to canvas pixels (N, 2)."""
        scale = self.focal / points[:, 2]
        u = self.centre_u + points[:, 0] * scale
        v = self.centre_v + (self.eye - points[:, 1]) * scale
        return np.stack([u, v], axis=1)

    def polygon(
        self,
        points: Points,
        colour: Colour,
        label: int | None = None,
        *,
        glow: Colour | None = None,
    ) -> None:
        """Paints a flat polygon given by world points (x, y, z) in order.

        Args:
            points: At least three corners, not on a line.
            colour: BGR.
            label: The class of these pixels, which also get the polygon's depth. None paints a detail on
                what is there: label and depth stay.
            glow: BGR of the light it sends out; None covers whatever glowed there.
        """
        corners = _clip_near(np.asarray(points, np.float64))
        if len(corners) < 3:
            return
        pixels = self.project(corners)
        area = _bounds(pixels, self.width, self.height, finest=0.9 if label is None else 0)
        if area is None:
            return
        fixed = _fixed(pixels)
        _fill(self.colour, fixed, colour)
        _fill(self.glow, fixed, glow or (0, 0, 0))
        if label is None:
            return
        _fill(self.label, fixed, label)
        x0, y0, x1, y1 = area
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        _fill(mask, fixed - (x0 * _SUBPIXEL, y0 * _SUBPIXEL), 1)
        normal = _normal(corners)
        offset = (
            normal[0] * corners[0, 0] + normal[1] * (corners[0, 1] - self.eye) + normal[2] * corners[0, 2]
        )
        if abs(offset) < 1e-6:
            return
        # On the plane, 1/Z is linear in the ray: n . (Z * ray) = offset
        inverse = (
            normal[0] * self.ray_x[None, x0:x1] + normal[1] * self.ray_y[y0:y1, None] + normal[2]
        ) / offset
        nearest, farthest = corners[:, 2].min(), corners[:, 2].max()
        values = 1 / np.clip(inverse, 1 / farthest, 1 / nearest)
        np.copyto(self.depth[y0:y1, x0:x1], values.astype(np.float32), where=mask.astype(bool))

    def board(
        self,
        points: Points,
        z: float,
        colour: Colour,
        label: int | None = None,
        *,
        glow: Colour | None = None,
    ) -> None:
        """Paints a polygon that faces the camera: world points (x, y) at one depth ``z``."""
        if z < NEAR:
            return
        flat = np.asarray(points, np.float64)
        scale = self.focal / z
        pixels = np.array([self.centre_u, self.centre_v + self.eye * scale]) + flat * (scale, -scale)
        if _bounds(pixels, self.width, self.height, finest=0.9 if label is None else 0) is None:
            return
        fixed = _fixed(pixels)
        self._flat(lambda layer, value: _fill(layer, fixed, value), z, colour, label, glow)

    def disc(
        self,
        x: float,
        y: float,
        z: float,
        radius: float | tuple[float, float],
        colour: Colour,
        label: int | None = None,
        *,
        glow: Colour | None = None,
        thickness: float | None = None,
    ) -> None:
        """Paints an ellipse that faces the camera; radii and ring ``thickness`` (None: filled) in metres."""
        if z < NEAR:
            return
        scale = self.focal / z
        radius_u, radius_v = radius if isinstance(radius, tuple) else (radius, radius)
        # Pixel centres are at half integers here and at integers in OpenCV.
        u, v = self.centre_u + x * scale - 0.5, self.centre_v + (self.eye - y) * scale - 0.5
        fixed = [
            round(value * _SUBPIXEL)
            for value in (u, v, max(radius_u * scale, 0.55), max(radius_v * scale, 0.55))
        ]
        if max(map(abs, fixed)) >= 1 << 24:
            return
        line = -1 if thickness is None else max(1, round(thickness * scale))

        def paint(layer: np.ndarray, value: Colour | float) -> None:
            cv2.ellipse(
                layer, fixed[:2], fixed[2:], 0, 0, 360, _scalar(value), line, cv2.LINE_8, _SUBPIXEL_BITS
            )

        self._flat(paint, z, colour, label, glow)

    def heap(
        self, x: np.ndarray, y: np.ndarray, z: float, radius: np.ndarray, colours: np.ndarray, label: int
    ) -> None:
        """Paints many round discs at one depth in the order given (leaves): as :meth:`disc`, but fast.

        Args:
            x: (N,) world X of the centres.
            y: (N,) world Y.
            z: Depth of all.
            radius: (N,) metres.
            colours: (N, 3) BGR.
            label: Their class.
        """
        if z < NEAR:
            return
        scale = self.focal / z
        fixed = np.column_stack(
            [
                self.centre_u + x * scale - 0.5,
                self.centre_v + (self.eye - y) * scale - 0.5,
                np.maximum(radius * scale, 0.55),
            ]
        )
        fixed = np.round(fixed * _SUBPIXEL)
        kept = np.abs(fixed).max(axis=1) < 1 << 24
        area = _bounds(
            np.vstack([fixed[:, :2] - fixed[:, 2:], fixed[:, :2] + fixed[:, 2:]]) / _SUBPIXEL,
            self.width,
            self.height,
        )
        if area is None:
            return
        x0, y0, x1, y1 = area
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        left, top = x0 * _SUBPIXEL, y0 * _SUBPIXEL
        for (u, v, r), colour in zip(fixed[kept].astype(int).tolist(), colours[kept].tolist(), strict=True):
            cv2.circle(self.colour, (u, v), r, colour, -1, cv2.LINE_8, _SUBPIXEL_BITS)
            cv2.circle(mask, (u - left, v - top), r, (1,), -1, cv2.LINE_8, _SUBPIXEL_BITS)
        inside = mask.astype(bool)
        self.label[y0:y1, x0:x1][inside] = label
        self.depth[y0:y1, x0:x1][inside] = z
        self.glow[y0:y1, x0:x1][inside] = 0

    def bar(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        z: float,
        width: float,
        colour: Colour,
        label: int | None = None,
        *,
        glow: Colour | None = None,
    ) -> None:
        """Paints a straight bar from ``start`` to ``end`` (x, y at depth ``z``), ``width`` metres thick."""
        if z < NEAR:
            return
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        along = b - a
        # Never thinner than a picture's pixel: thin poles would flicker in and out of the labels.
        half = max(width, 2.0 * z / self.focal) / 2
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9) * half
        self.board([a + across, b + across, b - across, a - across], z, colour, label, glow=glow)

    def shade(self, points: Points, factor: float) -> None:
        """Darkens the ground (and nothing else) inside a polygon of ground points (x, z): a cast shadow."""
        ground = np.asarray(points, np.float64)
        corners = _clip_near(np.column_stack([ground[:, 0], np.zeros(len(ground)), ground[:, 1]]))
        if len(corners) < 3:
            return
        pixels = self.project(corners)
        area = _bounds(pixels, self.width, self.height)
        if area is None:
            return
        x0, y0, x1, y1 = area
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        _fill(mask, _fixed(pixels - (x0, y0)), 1)
        inside = mask.astype(bool) & np.isin(self.label[y0:y1, x0:x1], GROUND)
        patch = self.colour[y0:y1, x0:x1]
        patch[inside] = patch[inside] * np.float32(factor)

    def _flat(self, paint, z: float, colour: Colour, label: int | None, glow: Colour | None) -> None:
        """Runs one drawing on every layer that it changes."""
        paint(self.colour, colour)
        paint(self.glow, glow or (0, 0, 0))
        if label is not None:
            paint(self.label, label)
            paint(self.depth, z)


def _scalar(value: Colour | float) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, int | float) else tuple(float(part) for part in value)


def _bounds(
    pixels: np.ndarray, width: int, height: int, *, finest: float = 0
) -> tuple[int, int, int, int] | None:
    """The part of the canvas around ``pixels`` as (x0, y0, x1, y1).

    None when it lies outside, or is less than ``finest`` pixels wide or high.
    """
    # A handful of points: plain Python is several times faster than NumPy here.
    us, vs = pixels.T.tolist()
    low_u, high_u, low_v, high_v = min(us), max(us), min(vs), max(vs)
    if high_u - low_u < finest or high_v - low_v < finest:
        return None
    x0, y0 = max(math.floor(low_u) - 1, 0), max(math.floor(low_v) - 1, 0)
    x1, y1 = min(math.ceil(high_u) + 2, width), min(math.ceil(high_v) + 2, height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _fixed(pixels: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers; its pixel centres are at integers, ours at half integers."""
    return np.round((np.clip(pixels, -30000, 30000) - 0.5) * _SUBPIXEL).astype(np.int32)


def _fill(layer: np.ndarray, fixed: np.ndarray, value: Colour | float) -> None:
    """Fills a polygon (from :func:`_fixed`) without anti-aliasing."""
    cv2.fillPoly(layer, [fixed], _scalar(value), cv2.LINE_8, _SUBPIXEL_BITS)


def _normal(corners: np.ndarray) -> tuple[float, float, float]:
    """The cross product of a polygon's first two edges."""
    (ax, ay, az), (bx, by, bz) = (corners[1:3] - corners[0]).tolist()
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def _clip_near(points: np.ndarray) -> np.ndarray:
    """The part of a polygon (N, 3) with Z >= NEAR (Sutherland and Hodgman, one plane)."""
    if points[:, 2].min() >= NEAR:
        return points
    kept = []
    for here, after in zip(points, np.roll(points, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (after[2] >= NEAR):
            kept.append(here + (after - here) * (NEAR - here[2]) / (after[2] - here[2]))
    return np.array(kept).reshape(-1, 3)
