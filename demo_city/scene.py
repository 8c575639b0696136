"""Composes one street: decides what stands where, then paints it from far to near."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from demo_city import buildings, furniture, people, plants, vehicles
from demo_city.canvas import Canvas
from demo_city.classes import VOID
from demo_city.ground import Street, paint_ego_bonnet, paint_ground, paint_sky


@dataclass(frozen=True)
class Quarter:
    """A kind of neighbourhood.

    Attributes:
        plots: Chances that a plot holds a house, a house beside a gap, a wall, a fence or a hedge.
        storeys: Fewest and most (exclusive) floors of its houses.
        tree_every: Metres between street trees, on average.
        verge: Chance of a grass strip between kerb and pavement.
        setback: Whether houses stand back behind a front garden.
    """

    plots: tuple[float, float, float, float, float]
    storeys: tuple[int, int]
    tree_every: float
    verge: float
    setback: bool


QUARTERS = (
    Quarter((0.78, 0.08, 0.06, 0.03, 0.05), (3, 7), tree_every=34, verge=0.3, setback=False),  # centre
    Quarter((0.34, 0.20, 0.12, 0.17, 0.17), (2, 4), tree_every=22, verge=0.65, setback=True),  # suburb
    Quarter((0.42, 0.14, 0.16, 0.10, 0.18), (3, 6), tree_every=11, verge=0.65, setback=False),  # avenue
)
TRAFFIC = {'car': 0.66, 'truck': 0.09, 'bus': 0.09, 'tram': 0.04, 'motorcycle': 0.06, 'bicycle': 0.06}
LENGTHS = {'car': 4.3, 'truck': 8.5, 'bus': 11.0, 'tram': 24.0, 'motorcycle': 2.0, 'bicycle': 2.0}


@dataclass
class Scene:
    """A painted street and what the weather needs to know of it.

    Attributes:
        canvas: Colour, label, depth and glow.
        lamps: World (x, y, z) of the street lamps' bulbs.
    """

    canvas: Canvas
    lamps: list[tuple[float, float, float]] = field(default_factory=list)


class Stage:
    """Collects things with the depth they stand at; paints them far to near.

    Everything gets a random generator of its own, so its looks do not shift those of the others.
    """

    def __init__(self, canvas: Canvas, rng: np.random.Generator):
        self.canvas, self.rng = canvas, rng
        self._things: list[tuple[float, Callable[[], object]]] = []

    def add(self, at: float, paint: Callable, **looks: Any) -> None:
        """Puts a thing on the stage: ``paint(canvas, rng, **looks)`` is called when its turn comes."""
        child = np.random.default_rng(self.rng.integers(1 << 62))
        self._things.append((at, partial(paint, self.canvas, child, **looks)))

    def paint(self) -> None:
        """The painter's algorithm: what is farther comes first."""
        for _, paint in sorted(self._things, key=lambda thing: -thing[0]):
            paint()


def paint_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Paints a street on a dry day.

    Args:
        rng: Decides everything.
        width: Canvas pixels.
        height: Canvas pixels.
    """
    quarter = QUARTERS[rng.choice(len(QUARTERS), p=[0.45, 0.3, 0.25])]
    canvas = Canvas(
        width,
        height,
        eye=rng.uniform(1.25, 1.6),
        horizon=rng.uniform(0.4, 0.47),
        vanishing=rng.uniform(0.4, 0.6),
    )
    lane = rng.uniform(3.2, 3.7)
    own = lane * rng.uniform(0.42, 0.58)  # where in its lane the camera drives
    parking = float(rng.choice([0.4, 2.4]))
    street = Street(
        left=-lane * int(rng.integers(1, 3)) - own,
        right=lane * int(rng.integers(1, 3)) - own + parking,
        lane=lane,
        verge=2.2 if rng.random() < quarter.verge else 0.0,
        pavement=rng.uniform(2.2, 3.8),
        end=rng.uniform(60, 130),
    )
    scene = Scene(canvas)
    paint_sky(canvas, rng)
    paint_ground(canvas, street, rng)
    _paint_end(canvas, rng, street)
    # Plots lie behind everything that stands in the street, so they are a stage of their own.
    plots = Stage(canvas, rng)
    sunny = int(rng.choice([-1, 1]))
    for side in (-1, 1):
        _plan_plots(plots, street, quarter, side, light=1.0 if side == sunny else 0.76)
    plots.paint()
    stage = Stage(canvas, rng)
    for side in (-1, 1):
        scene.lamps += _plan_furniture(stage, street, quarter, side)
        _plan_pavement(stage, street, side)
    _plan_traffic(stage, street)
    _plan_crossing(stage, street)
    stage.paint()
    if rng.random() < 0.75:
        paint_ego_bonnet(canvas, rng, VOID)
    return scene


def _paint_end(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """A row of houses and trees behind the crossing street."""
    z, x = street.end + 14, -160.0
    while x < 160:
        wide = rng.uniform(9, 20)
        if rng.random() < 0.6:
            storeys = int(rng.integers(2, 6))
            buildings.paint_house_across(canvas, rng, x0=x, x1=x + wide, z=z, storeys=storeys)
        x += wide
    for tree in rng.uniform(-60, 60, 12):
        plants.paint_tree(canvas, rng, x=float(tree), z=z - 2.5, height=rng.uniform(6, 11))


def _plan_plots(stage: Stage, street: Street, quarter: Quarter, side: int, *, light: float) -> None:
    """Houses, walls, fences and hedges along one side."""
    rng, front = stage.rng, street.front(side)
    z = rng.uniform(-14, 0)
    while z < street.end - 6:
        far = min(z + rng.uniform(8, 19), street.end - 2)
        what = rng.choice(5, p=quarter.plots)
        along = dict(x=front, z0=z, z1=far)
        if what <= 1:
            setback = rng.uniform(2, 5) if quarter.setback else 0.0
            end = far - (rng.uniform(2, 5) if what == 1 else 0.0)
            if end > z + 2:
                stage.add(
                    z,
                    buildings.paint_house,
                    side=side,
                    x=front + side * setback,
                    z0=z,
                    z1=end,
                    storeys=int(rng.integers(*quarter.storeys)),
                    light=light,
                )
            if setback and rng.random() < 0.75:
                stage.add(
                    z - 0.1, furniture.paint_fence if rng.random() < 0.55 else plants.paint_hedge, **along
                )
        else:
            stage.add(z, (furniture.paint_wall, furniture.paint_fence, plants.paint_hedge)[what - 2], **along)
            for _ in range(int(rng.integers(2, 5))):
                at = rng.uniform(z, far)
                if at > 8:
                    x = front + side * rng.uniform(3, 9)
                    stage.add(far, plants.paint_tree, x=x, z=at, height=rng.uniform(6, 11))
        z = far + 0.01


def _plan_furniture(
    stage: Stage, street: Street, quarter: Quarter, side: int
) -> list[tuple[float, float, float]]:
    """Trees, lamps, signs, signals, bins and bushes by the kerb; returns where the lamps' bulbs hang."""
    rng, lamps = stage.rng, []
    line = street.kerb(side) + side * 0.7
    for z in np.arange(rng.uniform(7, 24), min(street.end, 100), rng.uniform(22, 30)).tolist():
        lamps.append(furniture.bulb_position(x=line, z=z, side=side))
        stage.add(z, furniture.paint_lamp, x=line, z=z, side=side)
    for z in np.arange(rng.uniform(8, 30), street.end, quarter.tree_every * rng.uniform(0.8, 1.5)).tolist():
        stage.add(z, plants.paint_tree, x=line + side * 0.8, z=z, height=rng.uniform(5, 9))
    for z in rng.uniform(8, 45, int(rng.integers(1, 4))).tolist():
        stage.add(z, furniture.paint_sign, x=line, z=z)
    if rng.random() < 0.4:
        z = rng.uniform(6, 25)
        stage.add(z, furniture.paint_bin, x=street.front(side) - side * 0.5, z=z)
    if street.verge and rng.random() < 0.6:
        for z in rng.uniform(8, 50, 4).tolist():
            stage.add(z, plants.paint_bush, x=line, z=z, size=rng.uniform(0.8, 1.6))
    if rng.random() < 0.55:
        z = rng.uniform(10, 32)
        stage.add(z, furniture.paint_traffic_light, x=street.kerb(side) + side * 0.5, z=z, side=side)
    return lamps


def _plan_pavement(stage: Stage, street: Street, side: int) -> None:
    """People walking and standing, cycles parked at the plots."""
    rng = stage.rng
    inner = street.kerb(side) + side * (street.verge + 0.4)
    outer = street.front(side) - side * 0.4
    for _ in range(int(rng.integers(2, 9))):
        z = 5 + 45 * rng.random() ** 1.5
        stage.add(z, people.paint_person, x=inner + (outer - inner) * rng.random(), z=z)
    if rng.random() < 0.55:
        z, motor = rng.uniform(7, 20), bool(rng.random() < 0.35)
        for number in range(int(rng.integers(1, 4))):
            at = z + 1.1 * number
            stage.add(at, people.paint_cycle, x=outer, z=at, motor=motor, sideways=True)


def _plan_traffic(stage: Stage, street: Street) -> None:
    """Moving vehicles in the lanes and parked cars at the kerbs; nothing stands inside anything else."""
    rng = stage.rng
    lanes = max(2, round((street.right - street.left) / street.lane))
    wide = (street.right - street.left) / lanes
    for number in range(lanes):
        x = street.left + wide * (number + 0.5)
        towards = bool(x < -street.lane * 0.5)
        parked = number in (0, lanes - 1) and abs(x) > 3 and rng.random() < 0.45
        z = rng.uniform(5, 18) if abs(x) > 2.2 else rng.uniform(9, 26)
        while z < min(street.end - 10, 110):
            what = str(rng.choice(list(TRAFFIC), p=list(TRAFFIC.values())))
            if parked or (what in ('truck', 'bus', 'tram') and z < 11):
                what = 'car'
            _add_vehicle(stage, what, x=x + rng.uniform(-0.25, 0.25), z=z, towards=towards)
            z += LENGTHS[what] + (rng.uniform(0.8, 3) if parked else rng.uniform(8, 36))


def _add_vehicle(stage: Stage, what: str, *, x: float, z: float, towards: bool) -> None:
    if what == 'car':
        stage.add(z, vehicles.paint_car, x=x, z=z, towards=towards)
    elif what == 'truck':
        stage.add(z, vehicles.paint_truck, x=x, z=z, towards=towards)
    elif what in ('bus', 'tram'):
        stage.add(z, vehicles.paint_bus, x=x, z=z, towards=towards, tram=what == 'tram')
    else:
        stage.add(z, people.paint_rider, x=x, z=z, motor=what == 'motorcycle', sideways=False)


def _plan_crossing(stage: Stage, street: Street) -> None:
    """People and riders who cross the street."""
    rng = stage.rng
    if rng.random() < 0.6:
        z = rng.uniform(9, 26)
        for _ in range(int(rng.integers(1, 4))):
            at = z + rng.uniform(0, 2.5)
            stage.add(at, people.paint_person, x=rng.uniform(street.left, street.right), z=at)
    if rng.random() < 0.65:
        x, z = rng.uniform(street.left, street.right), rng.uniform(7, 20)
        stage.add(z, people.paint_rider, x=x, z=z, motor=bool(rng.random() < 0.4), sideways=True)
