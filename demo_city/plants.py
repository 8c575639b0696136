"""Trees, hedges and bushes: heaps of small discs, lit from above."""

import numpy as np

from demo_city.canvas import Canvas
from demo_city.classes import VEGETATION

GREENS = np.array([(46, 96, 74), (40, 112, 84), (58, 108, 96), (36, 84, 58), (50, 124, 118)])


def paint_tree(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, height: float) -> None:
    """A tree of the given height in metres (trunk and crown are vegetation, as in Cityscapes)."""
    bark = np.array([52, 66, 82]) * rng.uniform(0.7, 1.1)
    width = 0.035 * height
    crown_low = height * rng.uniform(0.3, 0.42)
    canvas.shade(_ring(x + 0.8, z, 0.3 * height, 0.3 * height), 0.62)
    trunk = [
        (x - width, 0),
        (x - width * 0.6, crown_low * 1.5),
        (x + width * 0.6, crown_low * 1.5),
        (x + width, 0),
    ]
    canvas.board(trunk, z, bark.tolist(), VEGETATION)
    middle = (height + crown_low) / 2
    _heap(canvas, rng, x=x, y=middle, z=z, half_width=0.3 * height, half_height=(height - crown_low) / 2)


def paint_hedge(canvas: Canvas, rng: np.random.Generator, *, x: float, z0: float, z1: float) -> None:
    """A clipped hedge along the street at ``x``, 0.9 to 2.2 m high."""
    height = rng.uniform(0.9, 2.2)
    green = GREENS[rng.integers(len(GREENS))] * rng.uniform(0.8, 1.1)
    corners = [(x, 0, z0), (x, height, z0), (x, height, z1), (x, 0, z1)]
    canvas.polygon(corners, green.tolist(), VEGETATION)
    for z in np.linspace(max(z1, 2.2), max(z0, 2.2), 24):
        _heap(
            canvas,
            rng,
            x=x,
            y=height * 0.62,
            z=float(z),
            half_width=0.35,
            half_height=height * 0.45,
            green=green,
            leaves=26,
        )


def paint_bush(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, size: float) -> None:
    """A round bush of ``size`` metres."""
    canvas.shade(_ring(x, z, size * 0.6, size * 0.4), 0.65)
    _heap(canvas, rng, x=x, y=size * 0.45, z=z, half_width=size * 0.6, half_height=size * 0.45)


def _heap(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    x: float,
    y: float,
    z: float,
    half_width: float,
    half_height: float,
    green: np.ndarray | None = None,
    leaves: int = 170,
) -> None:
    """Discs spread over an ellipse; the upper ones are drawn later and lighter."""
    if green is None:
        green = GREENS[rng.integers(len(GREENS))] * rng.uniform(0.75, 1.15)
    # Fewer leaves where they are too small to tell apart
    apparent = canvas.focal / z * min(half_width, half_height) / canvas.height
    leaves = int(np.clip(leaves * apparent * 6, min(12, leaves), leaves))
    angle, reach = rng.uniform(0, 2 * np.pi, leaves), np.sqrt(rng.uniform(0, 1, leaves))
    wobble = 1 + 0.16 * np.sin(3 * angle + rng.uniform(0, 6))
    dx, dy = np.cos(angle) * reach * wobble, np.sin(angle) * reach * wobble
    size = rng.uniform(0.1, 0.24, leaves) * min(half_width, half_height)
    grain = rng.uniform(0.75, 1.2, leaves)
    colours = np.clip(green * (grain * (0.95 + 0.35 * dy))[:, None], 0, 255)
    canvas.disc(x, y, z, (half_width * 0.8, half_height * 0.8), (green * 0.6).tolist(), VEGETATION)
    order = np.argsort(dy)
    canvas.heap(
        (x + dx * half_width)[order],
        (y + dy * half_height)[order],
        z,
        size[order],
        colours[order],
        VEGETATION,
    )


def _ring(x: float, z: float, half_x: float, half_z: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return [(x + half_x * float(np.cos(a)), z + half_z * float(np.sin(a))) for a in angles]
