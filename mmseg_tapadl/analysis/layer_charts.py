"""The curves and histograms of the attention page, as SVG.

Colours are those of the robustness report, told apart with any colour vision; a model also has a marker of its own, and
what is corrupted is dashed and hollow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from mmseg_tapadl.robustness.charts import COLOURS, GRID, svg_text

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _ABOVE, _BELOW = 340, 220, 44, 12, 12, 36


@dataclass(frozen=True)
class LayerLine:
    """One line of a panel.

    Attributes:
        name: For the legend and the tooltips.
        values: One a layer; ``None`` where there is none.
        errors: Their standard errors; the band is 1.96 of them to each side.
        model: Number of the model, which gives colour and marker.
        corrupted: Dashed, with hollow markers.
    """

    name: str
    values: Sequence[float | None]
    errors: Sequence[float | None] = field(default_factory=list)
    model: int = 0
    corrupted: bool = False


def layer_panel(lines: Sequence[LayerLine], layers: Sequence[int], *, title: str) -> Markup:
    """A measure against the layers.

    Args:
        lines: Each with a value for each of ``layers``.
        layers: Their numbers.
        title: Read out by screen readers.
    """
    known = [value for line in lines for value in line.values if value is not None]
    top = round_up(max(known, default=1.0))
    count = max(len(layers), *(len(line.values) for line in lines), 1)

    def x(position: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (position + 0.5) / count

    def y(value: float) -> float:
        return _ABOVE + (_HEIGHT - _ABOVE - _BELOW) * (1 - min(max(value / top, 0.0), 1.0))

    parts = [*frame(title, top, y), svg_text((_LEFT + _WIDTH) / 2, _HEIGHT - 3, 'layer')]
    step = -(-count // 12)
    for position in range(0, count, step):
        label = layers[position] if position < len(layers) else position
        parts.append(svg_text(x(position), _HEIGHT - _BELOW + 17, str(label)))
    for line in lines:
        parts.append(band_of(line, x, y))
    for line in lines:
        colour = COLOURS[line.model % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if line.corrupted else ''
        runs: list[list[tuple[int, float]]] = [[]]
        for position, value in enumerate(line.values):
            if value is None:
                runs.append([])
            else:
                runs[-1].append((position, value))
        for run in runs:
            path = ' '.join(f'{x(p):.1f},{y(v):.1f}' for p, v in run)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            for position, value in run:
                label = layers[position] if position < len(layers) else position
                parts.append(marker(line, x(position), y(value), f'{line.name}, layer {label}: {value:.4g}'))
    return Markup(''.join(parts) + '</svg>')


def histogram_panel(lines: Sequence[LayerLine], *, title: str) -> Markup:
    """Shares of rows by their cosine, from 0 to 1.

    Args:
        lines: ``values`` are the counts of bins of equal width.
        title: Read out by screen readers.
    """
    shares = [
        [(value or 0) / max(1, sum(v or 0 for v in line.values)) for value in line.values] for line in lines
    ]
    top = round_up(100 * max((share for line in shares for share in line), default=1.0))

    def x(place: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * place

    def y(value: float) -> float:
        return _ABOVE + (_HEIGHT - _ABOVE - _BELOW) * (1 - min(value / top, 1.0))

    parts = [
        *frame(title, top, y),
        svg_text((_LEFT + _WIDTH) / 2, _HEIGHT - 3, 'cosine of clean and corrupted row'),
    ]
    for tick in range(6):
        parts.append(svg_text(x(tick / 5), _HEIGHT - _BELOW + 17, f'{tick / 5:g}'))
    for number, (line, own) in enumerate(zip(lines, shares, strict=True)):
        colour = COLOURS[line.model % len(COLOURS)]
        dash = ('', ' stroke-dasharray="5 4"', ' stroke-dasharray="2 3"')[
            min(number - first_of(lines, line), 2)
        ]
        steps = [(x(0), y(0))]
        for place, share in enumerate(own):
            for edge in (place, place + 1):
                steps.append((x(edge / len(own)), y(100 * share)))
        steps.append((x(1), y(0)))
        path = ' '.join(f'{a:.1f},{b:.1f}' for a, b in steps)
        parts.append(
            f'<polyline points="{path}" fill="{colour}" fill-opacity=".12" stroke="{colour}" stroke-width="2"{dash}>'
            f'<title>{escape(line.name)}</title></polyline>'
        )
    return Markup(''.join(parts) + '</svg>')


def first_of(lines: Sequence[LayerLine], line: LayerLine) -> int:
    """The place of the first line of the same model."""
    return next(number for number, other in enumerate(lines) if other.model == line.model)


def legend_line(line: LayerLine, dash: int | None = None) -> Markup:
    """The line's own look as a small SVG; ``dash`` chooses that of a histogram's line, which has no marker."""
    colour = COLOURS[line.model % len(COLOURS)]
    style = ('', '5 4', '2 3')[min(dash or 0, 2)] if dash is not None else ('5 4' if line.corrupted else '')
    mark = '' if dash is not None else marker(line, 12, 7, '')
    return Markup(
        '<svg class="key" viewBox="0 0 24 14" aria-hidden="true">'
        f'<line x1="0" x2="24" y1="7" y2="7" stroke="{colour}" stroke-width="2" stroke-dasharray="{style}"/>{mark}</svg>'
    )


def frame(title: str, top: float, y) -> list[str]:
    """The opening of a panel with its horizontal lines."""
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in range(6):
        value = top * tick / 5
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{GRID}"/>'
        )
        parts.append(svg_text(_LEFT - 6, y(value) + 4, f'{value:.4g}', anchor='end'))
    return parts


def band_of(line: LayerLine, x, y) -> str:
    """What lies within 1.96 standard errors of the line; nothing where they are not known."""
    points = [
        (position, value, 1.96 * error)
        for position, (value, error) in enumerate(zip(line.values, line.errors, strict=False))
        if value is not None and error is not None
    ]
    if len(points) < 2:
        return ''
    there = [f'{x(p):.1f},{y(v + e):.1f}' for p, v, e in points]
    back = [f'{x(p):.1f},{y(v - e):.1f}' for p, v, e in reversed(points)]
    colour = COLOURS[line.model % len(COLOURS)]
    return f'<polygon points="{" ".join(there + back)}" fill="{colour}" fill-opacity=".16"/>'


def marker(line: LayerLine, x: float, y: float, tooltip: str) -> str:
    """A circle, square, triangle or diamond, by the model; hollow where corrupted."""
    colour = COLOURS[line.model % len(COLOURS)]
    style = f'fill="{"#fff" if line.corrupted else colour}" stroke="{colour}" stroke-width="1.6"'
    inside = f'<title>{escape(tooltip)}</title>' if tooltip else ''
    shapes = [
        None,
        [(-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)],
        [(0, -4.5), (4.5, 3.5), (-4.5, 3.5)],
        [(0, -5), (5, 0), (0, 5), (-5, 0)],
    ]
    shape = shapes[line.model % len(shapes)]
    if shape is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" {style}>{inside}</circle>'
    points = ' '.join(f'{x + dx:.1f},{y + dy:.1f}' for dx, dy in shape)
    return f'<polygon points="{points}" {style}>{inside}</polygon>'


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 or 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    return next(step * power for step in (1, 2, 2.5, 5, 10) if value <= step * power * (1 + 1e-9))
