"""What a study's page draws: dots with intervals, and training curves, each as one SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from mmseg_tapadl.robustness.charts import COLOURS, GRID, INK, svg_text

_SOFT = '#56636f'
_WIDTH = 520
_ROW = 30
_TICKS = 5


@dataclass(frozen=True)
class DotRow:
    """One row of a panel of dots.

    Attributes:
        name: Shown on the left.
        values: One dot each, by seed.
        mean: A vertical stroke; None for none.
        low, high: A bar around it; None for none.
        colour: Number of the colour.
    """

    name: str
    values: Mapping[int, float]
    mean: float | None
    low: float | None
    high: float | None
    colour: int


def dot_panel(
    rows: Sequence[DotRow], *, title: str, unit: str, zero: bool = False, sign: bool = False
) -> Markup:
    """An SVG with a row for each variant: every seed as a dot, the mean, and its interval where there is one.

    Args:
        rows: From top to bottom.
        title: Read out by screen readers.
        unit: Below the axis.
        zero: Draw the line at 0, and have it on the axis.
        sign: Write a plus before positive numbers.
    """
    left = 14 + 7 * max((len(row.name) for row in rows), default=0)
    left, right, above, below = min(max(left, 60), 220), 16, 8, 38
    height = above + _ROW * len(rows) + below
    ends = [v for row in rows for v in (*row.values.values(), row.low, row.high, row.mean) if v is not None]
    ticks = nice_ticks(*((min(ends), max(ends)) if ends else (0.0, 1.0)), with_zero=zero)

    def x(value: float) -> float:
        return left + (_WIDTH - left - right) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    floor = above + _ROW * len(rows)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        colour = _SOFT if zero and tick == 0 else GRID
        parts.append(
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{above}" y2="{floor}" stroke="{colour}"/>'
        )
        parts.append(svg_text(x(tick), floor + 16, f'{tick:+g}' if sign and tick else f'{tick:g}'))
    parts.append(svg_text((left + _WIDTH - right) / 2, height - 4, unit))
    for number, row in enumerate(rows):
        y = above + _ROW * (number + 0.5)
        colour = COLOURS[row.colour % len(COLOURS)]
        parts.append(svg_text(left - 8, y + 4, _cut(row.name, left), anchor='end'))
        if row.low is not None and row.high is not None:
            told = f'{row.name}: 95 % interval {_number(row.low, sign)} to {_number(row.high, sign)}'
            wide = max(x(row.high) - x(row.low), 1.0)
            parts.append(
                f'<rect x="{x(row.low):.1f}" y="{y - 6:.1f}" width="{wide:.1f}" height="12" rx="3" fill="{colour}" '
                f'fill-opacity="0.25"><title>{escape(told)}</title></rect>'
            )
        for seed, value in row.values.items():
            told = f'{row.name}, seed {seed}: {_number(value, sign)}'
            parts.append(
                f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" fill-opacity="0.75" stroke="#fff">'
                f'<title>{escape(told)}</title></circle>'
            )
        if row.mean is not None:
            told = f'{row.name}: mean {_number(row.mean, sign)}'
            parts.append(
                f'<line x1="{x(row.mean):.1f}" x2="{x(row.mean):.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}" stroke="{INK}" '
                f'stroke-width="2"><title>{escape(told)}</title></line>'
            )
    return Markup(''.join(parts) + '</svg>')


@dataclass(frozen=True)
class Curve:
    """One run's line in a panel of training curves.

    Attributes:
        name: For the tooltip.
        points: (iteration, value) from left to right.
        colour: Number of the colour, one for each variant.
    """

    name: str
    points: Sequence[tuple[int, float]]
    colour: int


def curve_panel(curves: Sequence[Curve], *, title: str) -> Markup:
    """An SVG of a loss against the iteration, a line for each run."""
    height, left, right, above, below = 230, 48, 12, 12, 34
    values = [value for curve in curves for _, value in curve.points]
    ticks = nice_ticks(min(values), max(values), with_zero=min(values) >= 0)
    last = max(iteration for curve in curves for iteration, _ in curve.points)

    def x(iteration: float) -> float:
        return left + (_WIDTH - left - right) * iteration / max(last, 1)

    def y(value: float) -> float:
        return above + (height - above - below) * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0]))

    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        parts.append(
            f'<line x1="{left}" x2="{_WIDTH - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{GRID}"/>'
        )
        parts.append(svg_text(left - 6, y(tick) + 4, f'{tick:g}', anchor='end'))
    for tick in nice_ticks(0, last, with_zero=True):
        if tick <= last:
            parts.append(svg_text(x(tick), height - below + 17, f'{tick:g}'))
    parts.append(svg_text((left + _WIDTH - right) / 2, height - 3, 'iteration'))
    for curve in curves:
        path = ' '.join(f'{x(i):.1f},{y(v):.1f}' for i, v in curve.points)
        colour = COLOURS[curve.colour % len(COLOURS)]
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3" stroke-opacity="0.7" '
            f'stroke-linejoin="round"><title>{escape(curve.name)}</title></polyline>'
        )
    return Markup(''.join(parts) + '</svg>')


def nice_ticks(low: float, high: float, *, with_zero: bool = False) -> list[float]:
    """Round numbers in even steps that reach from at most ``low`` to at least ``high``; at least two."""
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _number(value: float, sign: bool) -> str:
    return f'{value:+.2f}' if sign else f'{value:.2f}'


def _cut(name: str, left: float) -> str:
    room = int((left - 12) / 6.4)
    return name if len(name) <= room else f'{name[: room - 1]}…'
