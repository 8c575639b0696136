"""Street furniture: lamps, traffic lights, signs, walls, fences, bins."""

import numpy as np

from demo_city.canvas import Canvas
from demo_city.classes import FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VOID, WALL

STEEL = np.array([104, 106, 106])
LAMP_GLOW = (150, 215, 255)
SIGNAL_COLOURS = {'red': (40, 40, 235), 'amber': (30, 170, 250), 'green': (120, 220, 60)}


LAMP_HEIGHT, LAMP_REACH = 7.2, 1.8


def bulb_position(*, x: float, z: float, side: int) -> tuple[float, float, float]:
    """Where the bulb of the lamp at (x, z) hangs: world (x, y, z)."""
    return x - side * (LAMP_REACH + 0.35), LAMP_HEIGHT, z


def paint_lamp(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, side: int) -> None:
    """A street lamp whose arm reaches over the road."""
    height, bulb = LAMP_HEIGHT, x - side * LAMP_REACH
    tone = (STEEL * rng.uniform(0.75, 1.05)).tolist()
    canvas.bar((x, 0), (x, height), z, 0.16, tone, POLE)
    canvas.bar((x, height), (bulb, height + 0.3), z, 0.12, tone, POLE)
    canvas.bar((bulb, height + 0.24), (bulb - side * 0.7, height + 0.24), z, 0.2, tone, POLE)
    lamp = ((bulb, height + 0.14), (bulb - side * 0.7, height + 0.14))
    canvas.bar(*lamp, z, 0.1, (190, 205, 210), None, glow=LAMP_GLOW)


def paint_traffic_light(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, side: int) -> None:
    """A signal on its pole, with one more on an arm over the road at times."""
    tone = (STEEL * rng.uniform(0.6, 1.0)).tolist()
    heads = [(x, 2.9)]
    if rng.random() < 0.5:
        canvas.bar((x, 0), (x, 5.6), z, 0.18, tone, POLE)
        canvas.bar((x, 5.6), (x - side * 3.6, 5.6), z, 0.14, tone, POLE)
        heads.append((x - side * 3.4, 5.0))
    else:
        canvas.bar((x, 0), (x, 3.3), z, 0.15, tone, POLE)
    lit = rng.choice(['red', 'amber', 'green'], p=[0.45, 0.1, 0.45])
    for head_x, low in heads:
        canvas.board(_box(head_x, low + 0.55, 0.22, 0.55), z, (34, 32, 30), TRAFFIC_LIGHT)
        for number, name in enumerate(('green', 'amber', 'red')):
            on = name == lit
            colour = SIGNAL_COLOURS[name] if on else (48, 46, 46)
            canvas.disc(head_x, low + 0.2 + 0.35 * number, z, 0.14, colour, None, glow=colour if on else None)


def paint_sign(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float) -> None:
    """A round, three-cornered, square or diamond sign on a pole."""
    canvas.bar((x, 0), (x, 3.0), z, 0.1, (STEEL * 1.2).tolist(), POLE)
    y, red, white = 2.7, (42, 40, 196), (228, 230, 232)
    kind = rng.integers(5)
    if kind == 0:  # speed limit
        canvas.disc(x, y, z, 0.42, red, TRAFFIC_SIGN)
        canvas.disc(x, y, z, 0.3, white)
        canvas.board(_box(x, y, 0.15, 0.13), z, (40, 40, 40))
    elif kind == 1:  # give way
        canvas.board([(x - 0.5, y + 0.35), (x + 0.5, y + 0.35), (x, y - 0.5)], z, red, TRAFFIC_SIGN)
        canvas.board([(x - 0.27, y + 0.22), (x + 0.27, y + 0.22), (x, y - 0.26)], z, white)
    elif kind == 2:  # priority road
        for size, colour, label in ((0.46, white, TRAFFIC_SIGN), (0.32, (40, 190, 240), None)):
            canvas.board([(x - size, y), (x, y + size), (x + size, y), (x, y - size)], z, colour, label)
    elif kind == 3:  # parking
        canvas.board(_box(x, y, 0.4, 0.42), z, (170, 90, 30), TRAFFIC_SIGN)
        canvas.bar((x - 0.12, y - 0.25), (x - 0.12, y + 0.27), z, 0.1, white)
        canvas.disc(x + 0.02, y + 0.12, z, 0.13, white, thickness=0.08)
    else:  # mandatory direction
        canvas.disc(x, y, z, 0.42, (180, 96, 34), TRAFFIC_SIGN)
        canvas.bar((x - 0.22, y), (x + 0.1, y), z, 0.12, white)
        canvas.board([(x + 0.05, y + 0.2), (x + 0.3, y), (x + 0.05, y - 0.2)], z, white)


def paint_wall(canvas: Canvas, rng: np.random.Generator, *, x: float, z0: float, z1: float) -> None:
    """A free-standing wall along the street."""
    height = rng.uniform(1.7, 2.6)
    stone = np.array([128, 138, 150]) * rng.uniform(0.7, 1.1)
    canvas.polygon(_upright(x, 0, height, z0, z1), stone.tolist(), WALL)
    for y in np.arange(0.4, height, 0.4):
        canvas.polygon(_upright(x, float(y), float(y) + 0.04, z0, z1), (stone * 0.8).tolist())
    canvas.polygon(_upright(x, height - 0.12, height, z0, z1), (stone * 1.2).clip(0, 255).tolist())


def paint_fence(canvas: Canvas, rng: np.random.Generator, *, x: float, z0: float, z1: float) -> None:
    """A fence of boards along the street, labelled as one surface as in Cityscapes."""
    height = rng.uniform(1.2, 1.8)
    wood = np.array(rng.choice([(84, 112, 142), (176, 184, 188), (70, 92, 72)], axis=0)) * rng.uniform(
        0.75, 1.1
    )
    canvas.polygon(_upright(x, 0, height, z0, z1), (wood * 0.45).tolist(), FENCE)
    for z in np.arange(max(z0, 2.0), z1, 0.34):
        canvas.polygon(_upright(x, 0.05, height, float(z), min(float(z) + 0.2, z1)), wood.tolist())


def paint_bin(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float) -> None:
    """A litter bin: no class of the 19, so void."""
    tone = np.array(rng.choice([(40, 130, 220), (70, 90, 60), (60, 60, 62)], axis=0))
    canvas.board(_box(x, 0.5, 0.25, 0.5), z, tone.tolist(), VOID)
    canvas.board(_box(x, 0.95, 0.28, 0.06), z, (tone * 0.6).tolist(), VOID)


def _box(x: float, y: float, half_width: float, half_height: float) -> list[tuple[float, float]]:
    return [
        (x - half_width, y - half_height),
        (x - half_width, y + half_height),
        (x + half_width, y + half_height),
        (x + half_width, y - half_height),
    ]


def _upright(x: float, low: float, high: float, z0: float, z1: float) -> list[tuple[float, float, float]]:
    return [(x, low, z0), (x, high, z0), (x, high, z1), (x, low, z1)]
