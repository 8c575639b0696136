"""People on foot, and riders on bicycles and motorcycles."""

import numpy as np

from demo_city.canvas import Canvas
from demo_city.classes import BICYCLE, MOTORCYCLE, PERSON, RIDER
from demo_city.vehicles import HEAD_GLOW, TAIL_GLOW, TYRE

SKINS = np.array([(140, 172, 220), (110, 146, 200), (70, 98, 140), (52, 72, 104)])
CLOTHES = np.array(
    [(60, 50, 46), (46, 42, 160), (150, 90, 40), (70, 130, 60), (40, 150, 210), (170, 170, 174), (120, 60, 110),
     (36, 36, 40), (90, 100, 150), (200, 206, 210)]
)  # fmt: skip


def paint_person(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float) -> None:
    """Somebody standing or walking, 1.1 to 1.9 m tall."""
    height = rng.uniform(1.55, 1.9) if rng.random() < 0.9 else rng.uniform(1.1, 1.3)
    _figure(canvas, rng, x=x, y=0.0, z=z, height=height, label=PERSON, stride=rng.uniform(0.05, 0.3))


def paint_rider(
    canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, motor: bool, sideways: bool
) -> None:
    """A rider on a bicycle or motorcycle; ``sideways``: crossing the street, else along it."""
    radius = 0.3 if motor else 0.35
    direction = 1 if rng.random() < 0.5 else -1
    paint_cycle(canvas, rng, x=x, z=z, motor=motor, sideways=sideways, direction=direction)
    coat, trousers, skin = _dress(rng)
    hip, shoulder = 0.92, 1.42
    if sideways:
        hip_x, shoulder_x = x - direction * 0.18, x + direction * 0.12
        canvas.bar((hip_x, hip), (x + direction * 0.12, 0.68), z, 0.17, trousers, RIDER)
        canvas.bar((x + direction * 0.12, 0.68), (x - direction * 0.02, radius), z, 0.13, trousers, RIDER)
        canvas.bar((hip_x, hip - 0.05), (shoulder_x, shoulder), z, 0.34, coat, RIDER)
        canvas.bar((shoulder_x, shoulder - 0.08), (x + direction * 0.45, 1.05), z, 0.11, coat, RIDER)
        head_x = shoulder_x + direction * 0.06
    else:
        for side in (-1, 1):
            canvas.bar((x + side * 0.12, hip), (x + side * 0.17, radius + 0.08), z, 0.16, trousers, RIDER)
            canvas.bar((x + side * 0.2, shoulder - 0.06), (x + side * 0.3, 1.05), z, 0.11, coat, RIDER)
        torso = [(x - 0.19, hip - 0.1), (x - 0.24, shoulder), (x + 0.24, shoulder), (x + 0.19, hip - 0.1)]
        canvas.board(torso, z, coat, RIDER)
        head_x = x
    _head(canvas, rng, head_x, shoulder + 0.2, z, skin, RIDER, helmet=motor or rng.random() < 0.6)


def paint_cycle(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    x: float,
    z: float,
    motor: bool,
    sideways: bool,
    direction: int = 1,
) -> None:
    """A bicycle or motorcycle by itself: ridden, or parked at the kerb."""
    label = MOTORCYCLE if motor else BICYCLE
    frame = CLOTHES[rng.integers(len(CLOTHES))].tolist()
    radius, thick = (0.3, 0.16) if motor else (0.35, 0.06)
    reach = 0.95 if sideways else 0.25
    canvas.shade(
        [(x - reach, z - 0.2), (x + reach, z - 0.2), (x + reach + 0.3, z + 0.3), (x - reach + 0.3, z + 0.3)],
        0.55,
    )
    if not sideways:
        width = 0.16 if motor else 0.06
        canvas.bar((x, 0.0), (x, 2 * radius), z, width, TYRE, label)
        canvas.bar((x, 2 * radius), (x, 1.0), z, 0.34 if motor else 0.07, frame, label)
        canvas.bar((x - 0.32, 1.04), (x + 0.32, 1.04), z, 0.07, (50, 50, 52), label)
        canvas.disc(x, 0.75, z, 0.07, (40, 40, 210), None, glow=TAIL_GLOW)
        return
    near, far = x + direction * 0.55, x - direction * 0.55
    for wheel in (near, far):
        canvas.disc(wheel, radius, z, radius - thick / 2, TYRE, label, thickness=thick)
        if motor:
            canvas.disc(wheel, radius, z, radius * 0.4, (120, 120, 122), label)
    if motor:
        body = [(near, 0.45), (near - direction * 0.1, 0.95), (far, 0.85), (far + direction * 0.1, 0.4)]
        canvas.board(body, z, frame, label)
        canvas.disc(near + direction * 0.05, 0.85, z, 0.1, (220, 226, 228), None, glow=HEAD_GLOW)
    else:
        pedal, saddle, head = (
            (x - direction * 0.05, radius),
            (x - direction * 0.2, 0.85),
            (x + direction * 0.4, 0.85),
        )
        axle = (far, radius)
        for start, end in (
            (pedal, saddle),
            (pedal, head),
            (saddle, head),
            (axle, saddle),
            (axle, pedal),
            (head, (near, radius)),
        ):
            canvas.bar(start, end, z, 0.06, frame, label)
    canvas.bar((x + direction * 0.4, 0.85), (x + direction * 0.42, 1.08), z, 0.06, (50, 50, 52), label)


def _figure(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    x: float,
    y: float,
    z: float,
    height: float,
    label: int,
    stride: float,
) -> None:
    coat, trousers, skin = _dress(rng)
    hip, shoulder = y + height * 0.5, y + height * 0.82
    broad = height * 0.13
    canvas.shade([(x - 0.25, z - 0.12), (x + 0.25, z - 0.12), (x + 0.75, z + 0.5), (x + 0.35, z + 0.5)], 0.55)
    for side in (-1, 1):
        canvas.bar((x + side * 0.07, hip), (x + side * stride, y + 0.04), z, height * 0.088, trousers, label)
        canvas.bar(
            (x + side * stride - 0.04, y + 0.04),
            (x + side * stride + 0.1, y + 0.04),
            z,
            0.09,
            (30, 30, 32),
            label,
        )
        swing = -side * stride * 0.5
        canvas.bar(
            (x + side * broad, shoulder - 0.04),
            (x + side * (broad + 0.06) + swing, hip),
            z,
            0.11,
            coat,
            label,
        )
    torso = [
        (x - broad * 0.85, hip - 0.12),
        (x - broad, shoulder),
        (x + broad, shoulder),
        (x + broad * 0.85, hip - 0.12),
    ]
    canvas.board(torso, z, coat, label)
    if rng.random() < 0.3:
        canvas.board(
            [
                (x - broad * 0.6, hip + 0.05),
                (x - broad * 0.6, shoulder - 0.1),
                (x + broad * 0.6, shoulder - 0.1),
                (x + broad * 0.6, hip + 0.05),
            ],
            z,
            CLOTHES[rng.integers(len(CLOTHES))].tolist(),
            label,
        )
    _head(canvas, rng, x, shoulder + height * 0.1, z, skin, label, helmet=False)


def _head(
    canvas: Canvas,
    rng: np.random.Generator,
    x: float,
    y: float,
    z: float,
    skin: list[float],
    label: int,
    *,
    helmet: bool,
) -> None:
    canvas.bar((x, y - 0.2), (x, y), z, 0.1, skin, label)
    canvas.disc(x, y, z, (0.11, 0.14), skin, label)
    hair = (rng.integers(20, 230, 3) if helmet else np.array([30, 40, 56]) * rng.uniform(0.5, 2)).tolist()
    canvas.disc(x, y + 0.06, z, (0.13, 0.1) if helmet else (0.115, 0.09), hair, label)


def _dress(rng: np.random.Generator) -> tuple[list[float], list[float], list[float]]:
    """Colours of coat, trousers and skin."""
    coat, trousers = CLOTHES[rng.integers(len(CLOTHES), size=2)]
    return coat.tolist(), (trousers * 0.7).tolist(), SKINS[rng.integers(len(SKINS))].tolist()
