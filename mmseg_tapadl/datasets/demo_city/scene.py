"""Composes one street: decides what stands where, then paints it from far to near."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mmseg_tapadl.datasets.demo_city import buildings, furniture, people, plants, vehicles
from mmseg_tapadl.datasets.demo_city.canvas import Canvas
from mmseg_tapadl.datasets.demo_city.classes import VOID
from mmseg_tapadl.datasets.demo_city.ground import Street, paint_ego_bonnet, paint_ground, paint_sky

# How likely what lines a plot is, by the kind of street: house, house with gap, wall, fence, hedge
_PLOTS = {
    'centre': (0.78, 0.08, 0.06, 0.03, 0.05),
    'suburb': (0.34, 0.2, 0.12, 0.17, 0.17),
    'avenue': (0.42, 0.14, 0.16, 0.1, 0.18),
}
_STOREYS = {'centre': (3, 7), 'suburb': (2, 4), 'avenue': (3, 6)}
_TREE_EVERY = {'centre': 34.0, 'suburb': 22.0, 'avenue': 11.0}


@dataclass
class Scene:
    """A painted street and what the weather needs to know of it.

    Attributes:
        canvas: Colour, label, depth and glow.
        lamps: World (x, y, z) of the street lamps' bulbs.
    """

    canvas: Canvas
    lamps: list[tuple[float, float, float]] = field(default_factory=list)


# Paints one thing; sorted by the Z it stands at
_Task = tuple[float, Callable[[], object]]


def paint_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Paints a street on a dry day.

    Args:
        rng: Decides everything.
        width: Canvas pixels.
        height: Canvas pixels.
    """
    kind = str(rng.choice(list(_PLOTS), p=[0.45, 0.3, 0.25]))
    canvas = Canvas(
        width,
        height,
        eye=rng.uniform(1.25, 1.6),
        horizon=rng.uniform(0.4, 0.47),
        vanishing=rng.uniform(0.4, 0.6),
    )
    lane = rng.uniform(3.2, 3.7)
    lanes_left, lanes_right = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    own = lane * rng.uniform(0.42, 0.58)  # where in its lane the camera drives
    street = Street(
        left=-lane * lanes_left - own,
        right=lane * (lanes_right - 1) + lane - own + rng.choice([0.4, 2.4]),
        lane=lane,
        verge=float(rng.choice([0.0, 2.2], p=[0.7, 0.3] if kind == 'centre' else [0.35, 0.65])),
        pavement=rng.uniform(2.2, 3.8),
        end=rng.uniform(60, 130),
    )
    scene = Scene(canvas)
    paint_sky(canvas, rng)
    paint_ground(canvas, street, rng)
    _paint_end(canvas, rng, street)
    sunny = int(rng.choice([-1, 1]))
    tasks: list[_Task] = []
    for side in (-1, 1):
        _plan_plots(tasks, canvas, rng, street, side, kind, light=1.0 if side == sunny else 0.76)
    _run(tasks)
    tasks = []
    _plan_furniture(tasks, scene, rng, street, kind)
    _plan_traffic(tasks, canvas, rng, street)
    _plan_people(tasks, canvas, rng, street)
    _run(tasks)
    if rng.random() < 0.75:
        paint_ego_bonnet(canvas, rng, VOID)
    return scene


def _run(tasks: list[_Task]) -> None:
    """The painter's algorithm: what is farther comes first."""
    for _, paint in sorted(tasks, key=lambda task: -task[0]):
        paint()


def _paint_end(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """A row of houses and trees behind the crossing street."""
    z = street.end + 14
    x = -160.0
    while x < 160:
        wide = rng.uniform(9, 20)
        if rng.random() < 0.6:
            buildings.paint_house_across(canvas, rng, x0=x, x1=x + wide, z=z, storeys=int(rng.integers(2, 6)))
        x += wide
    for tree in rng.uniform(-60, 60, 12):
        plants.paint_tree(canvas, rng, x=float(tree), z=z - 2.5, height=rng.uniform(6, 11))


def _plan_plots(
    tasks: list[_Task],
    canvas: Canvas,
    rng: np.random.Generator,
    street: Street,
    side: int,
    kind: str,
    *,
    light: float,
) -> None:
    """Houses, walls, fences and hedges along one side."""
    z = rng.uniform(-14, 0)
    front = street.front(side)
    low, high = _STOREYS[kind]
    while z < street.end - 6:
        wide = rng.uniform(8, 19)
        what = rng.choice(5, p=_PLOTS[kind])
        near, far = z, min(z + wide, street.end - 2)
        child = _child(rng)
        if what <= 1:
            gap = rng.uniform(2, 5) if what == 1 else 0.0
            setback = rng.uniform(2, 5) if kind == 'suburb' else 0.0
            x = front + side * setback

            def house(
                child=child, x=x, near=near, far=far - gap, storeys=int(rng.integers(low, high))
            ) -> None:
                if far > near + 2:
                    buildings.paint_house(
                        canvas, child, side=side, x=x, z0=near, z1=far, storeys=storeys, light=light
                    )

            tasks.append((near, house))
            if setback and rng.random() < 0.75:
                paint = furniture.paint_fence if rng.random() < 0.55 else _low_hedge
                tasks.append(
                    (
                        near - 0.1,
                        lambda p=paint, c=_child(rng), a=near, b=far: p(canvas, c, x=front, z0=a, z1=b),
                    )
                )
        else:
            paint = (furniture.paint_wall, furniture.paint_fence, _hedge)[what - 2]
            tasks.append((near, lambda p=paint, c=child, a=near, b=far: p(canvas, c, x=front, z0=a, z1=b)))
            for _ in range(int(rng.integers(2, 5))):
                at, off = rng.uniform(near, far), side * rng.uniform(3, 9)
                if at > 8:
                    tree = rng.uniform(6, 11)
                    tasks.append(
                        (
                            far,
                            lambda c=_child(rng), a=at, o=off, h=tree: plants.paint_tree(
                                canvas, c, x=front + o, z=a, height=h
                            ),
                        )
                    )
        z += wide


def _hedge(canvas: Canvas, rng: np.random.Generator, *, x: float, z0: float, z1: float) -> None:
    plants.paint_hedge(canvas, rng, x=x, z0=z0, z1=z1, height=rng.uniform(1.4, 2.4))


def _low_hedge(canvas: Canvas, rng: np.random.Generator, *, x: float, z0: float, z1: float) -> None:
    plants.paint_hedge(canvas, rng, x=x, z0=z0, z1=z1, height=rng.uniform(0.9, 1.3))


def _plan_furniture(
    tasks: list[_Task], scene: Scene, rng: np.random.Generator, street: Street, kind: str
) -> None:
    """Trees, lamps, signs, signals and bins between the kerb and the plots."""
    canvas = scene.canvas
    for side in (-1, 1):
        line = street.kerb(side) + side * 0.7
        for z in np.arange(rng.uniform(7, 24), min(street.end, 100), rng.uniform(22, 30)):
            lamp = (line - side * 2.15, 7.2, float(z))
            scene.lamps.append(lamp)
            tasks.append(
                (
                    float(z),
                    lambda c=_child(rng), a=float(z), x=line, s=side: furniture.paint_lamp(
                        canvas, c, x=x, z=a, side=s
                    ),
                )
            )
        for z in np.arange(rng.uniform(8, 30), street.end, _TREE_EVERY[kind] * rng.uniform(0.8, 1.5)):
            tree = rng.uniform(5, 9)
            tasks.append(
                (
                    float(z),
                    lambda c=_child(rng), a=float(z), x=line + side * 0.8, h=tree: plants.paint_tree(
                        canvas, c, x=x, z=a, height=h
                    ),
                )
            )
        for _ in range(int(rng.integers(1, 4))):
            z = rng.uniform(8, 45)
            tasks.append((z, lambda c=_child(rng), a=z, x=line: furniture.paint_sign(canvas, c, x=x, z=a)))
        if rng.random() < 0.4:
            z = rng.uniform(6, 25)
            tasks.append(
                (
                    z,
                    lambda c=_child(rng), a=z, x=street.front(side) - side * 0.5: furniture.paint_bin(
                        canvas, c, x=x, z=a
                    ),
                )
            )
        if street.verge and rng.random() < 0.6:
            for z in rng.uniform(8, 50, 4):
                tasks.append(
                    (
                        float(z),
                        lambda c=_child(rng), a=float(z), x=line: plants.paint_bush(
                            canvas, c, x=x, z=a, size=c.uniform(0.8, 1.6)
                        ),
                    )
                )
    if rng.random() < 0.65:
        z = rng.uniform(10, 32)
        for side in (-1, 1):
            x = street.kerb(side) + side * 0.5
            tasks.append(
                (
                    z,
                    lambda c=_child(rng), a=z, x=x, s=side: furniture.paint_traffic_light(
                        canvas, c, x=x, z=a, side=s
                    ),
                )
            )


def _plan_traffic(tasks: list[_Task], canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Moving vehicles in the lanes and parked cars at the kerbs; nothing stands inside anything else."""
    lanes = max(2, round((street.right - street.left) / street.lane))
    wide = (street.right - street.left) / lanes
    for number in range(lanes):
        x = street.left + wide * (number + 0.5)
        towards = x < -street.lane * 0.5
        parked = number in (0, lanes - 1) and abs(x) > 3 and rng.random() < 0.45
        z = rng.uniform(4.5, 14) if abs(x) > 2.2 else rng.uniform(9, 26)
        while z < min(street.end - 10, 110):
            what = rng.choice(
                ['car', 'truck', 'bus', 'tram', 'motorcycle', 'bicycle'],
                p=[0.66, 0.09, 0.09, 0.04, 0.06, 0.06],
            )
            if parked or (what in ('truck', 'bus', 'tram') and z < 11):
                what = 'car'
            at = x + rng.uniform(-0.25, 0.25)
            child = _child(rng)
            tasks.append(
                (
                    z,
                    lambda w=what, c=child, x=at, a=z, t=towards: _vehicle(
                        canvas, c, str(w), x=x, z=a, towards=t
                    ),
                )
            )
            length = {'car': 4.3, 'truck': 8.5, 'bus': 11.0, 'tram': 24.0}.get(str(what), 2.0)
            z += length + (rng.uniform(0.8, 3) if parked else rng.uniform(6, 30))


def _vehicle(
    canvas: Canvas, rng: np.random.Generator, what: str, *, x: float, z: float, towards: bool
) -> None:
    if what == 'car':
        vehicles.paint_car(canvas, rng, x=x, z=z, towards=towards, scale=rng.uniform(0.94, 1.12))
    elif what == 'truck':
        vehicles.paint_truck(canvas, rng, x=x, z=z, towards=towards)
    elif what in ('bus', 'tram'):
        vehicles.paint_bus(canvas, rng, x=x, z=z, towards=towards, tram=what == 'tram')
    else:
        people.paint_cyclist(canvas, rng, x=x, z=z, motor=what == 'motorcycle', sideways=False)


def _plan_people(tasks: list[_Task], canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """People on the pavements and crossing; cyclists across; cycles parked at the plots."""
    for side in (-1, 1):
        inner = street.kerb(side) + side * (street.verge + 0.4)
        outer = street.front(side) - side * 0.4
        for _ in range(int(rng.integers(2, 9))):
            x, z = rng.uniform(*sorted((inner, outer))), 5 + 45 * rng.random() ** 1.5
            tasks.append((z, lambda c=_child(rng), x=x, a=z: people.paint_person(canvas, c, x=x, z=a)))
        if rng.random() < 0.55:
            x, z = outer, rng.uniform(7, 20)
            motor = rng.random() < 0.35
            for number in range(int(rng.integers(1, 4))):
                at = z + 1.1 * number
                tasks.append(
                    (
                        at,
                        lambda c=_child(rng), x=x, a=at, m=motor: people.paint_cycle(
                            canvas, c, x=x, z=a, motor=m, sideways=True, direction=1
                        ),
                    )
                )
    if rng.random() < 0.6:
        z = rng.uniform(9, 26)
        for _ in range(int(rng.integers(1, 4))):
            x, at = rng.uniform(street.left, street.right), z + rng.uniform(0, 2.5)
            tasks.append((at, lambda c=_child(rng), x=x, a=at: people.paint_person(canvas, c, x=x, z=a)))
    if rng.random() < 0.65:
        x, z = rng.uniform(street.left, street.right), rng.uniform(7, 20)
        motor = rng.random() < 0.4
        tasks.append(
            (
                z,
                lambda c=_child(rng), x=x, a=z, m=motor: people.paint_cyclist(
                    canvas, c, x=x, z=a, motor=m, sideways=True
                ),
            )
        )


def _child(rng: np.random.Generator) -> np.random.Generator:
    """A generator of its own for one thing, so that its looks do not shift those of the others."""
    return np.random.default_rng(rng.integers(1 << 62))
