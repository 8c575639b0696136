"""What the pages draw, as plain numbers and one SVG; the templates place it.

Colours are Okabe and Ito's, told apart with any colour vision; every line also has its own marker.
"""

import math
from dataclasses import dataclass

from markupsafe import Markup, escape

COLOURS = ('#0072b2', '#d55e00', '#007a58', '#a94e86', '#8a6100', '#2f6f9f')
_MARKERS = ('circle', 'square', 'triangle', 'diamond', 'cross', 'bar')
INK, GRID = '#3d4852', '#dde3e9'
# The ends and the middle of the heat map's scale: light, clear, dark.
_SCALE = ((247, 251, 255), (107, 174, 214), (8, 48, 107))


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        name: For the legend and the tooltips.
        points: (severity, mIoU in percent) from left to right.
    """

    name: str
    points: list[tuple[int, float]]


def axis_top(values: list[float]) -> float:
    """The next round number above all values, for an axis from 0."""
    highest = max(values, default=0.0)
    for step in (1, 2, 5, 10, 20):
        if highest <= 5 * step:
            return float(step * max(1, math.ceil(highest / step)))
    return 100.0


def severity_panel(lines: list[Line], *, clean: float, top: float, title: str) -> Markup:
    """An SVG of mIoU against severity; severity 0 is the clean score, which every line starts from.

    Args:
        lines: Of one group of corruptions.
        clean: mIoU of the untouched pictures.
        top: Upper end of the axis.
        title: Read out by screen readers.
    """
    width, height, left, right, above, below = 340, 230, 34, 12, 12, 34
    severities = [0, 1, 2, 3, 4, 5]

    def x(severity: float) -> float:
        return left + (width - left - right) * severity / severities[-1]

    def y(value: float) -> float:
        return above + (height - above - below) * (1 - value / top)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    ticks = 5 if top % 5 == 0 else 4
    for tick in range(ticks + 1):
        value = top * tick / ticks
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{GRID}"/>'
        )
        parts.append(svg_text(left - 6, y(value) + 4, f'{value:g}', anchor='end'))
    for severity in severities:
        parts.append(svg_text(x(severity), height - below + 17, 'clean' if severity == 0 else str(severity)))
    parts.append(svg_text((left + width) / 2, height - 3, 'severity'))
    parts.append(
        f'<line x1="{left}" x2="{width - right}" y1="{y(clean):.1f}" y2="{y(clean):.1f}" stroke="{INK}" '
        f'stroke-dasharray="3 4"><title>clean: {clean:.2f}</title></line>'
    )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        points = [(0, clean), *line.points]
        path = ' '.join(f'{x(s):.1f},{y(v):.1f}' for s, v in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'
        )
        for severity, value in line.points:
            tooltip = f'{line.name}, severity {severity}: mIoU {value:.2f}'
            parts.append(_marker(number, x(severity), y(value), colour, tooltip))
    return Markup(''.join(parts) + '</svg>')


@dataclass(frozen=True)
class Reliability:
    """One line of a reliability diagram.

    Attributes:
        name: For the legend and the tooltips.
        bins: Of each bin the number of pixels, how many of them are right, and their mean confidence (None without any).
    """

    name: str
    bins: list[tuple[int, int, float | None]]


def reliability_panel(lines: list[Reliability], *, title: str) -> Markup:
    """An SVG of the share of right pixels against their confidence, and below how many pixels each bin holds.

    On the diagonal a model is as sure as it is right; below it, it is too sure.

    Args:
        lines: At most a few.
        title: Read out by screen readers.
    """
    width, height, left, right, above, plot, bars = 340, 320, 34, 12, 12, 210, 44
    floor = above + plot + 10 + bars
    # Bars are as tall as they are beside the longest, so that their shape is seen however flat it is.
    longest = max(
        (pixels / max(1, sum(bin_[0] for bin_ in line.bins)) for line in lines for pixels, _, _ in line.bins),
        default=0.0,
    )

    def x(share: float) -> float:
        return left + (width - left - right) * share

    def y(share: float) -> float:
        return above + plot * (1 - share)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for tick in range(6):
        share = tick / 5
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="{GRID}"/>'
        )
        parts.append(svg_text(left - 6, y(share) + 4, f'{100 * share:g}', anchor='end'))
        parts.append(svg_text(x(share), floor + 17, f'{100 * share:g}'))
    parts.append(svg_text((left + width) / 2, height - 3, 'confidence (%)'))
    parts.append(svg_text(left + 4, above + 12, 'right (%)', anchor='start'))
    parts.append(svg_text(left + 4, floor - bars + 6, 'pixels', anchor='start'))
    parts.append(
        f'<line x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}" stroke="{INK}" stroke-dasharray="3 4"/>'
    )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        total = sum(pixels for pixels, _, _ in line.bins)
        points = [
            (mean, right_pixels / pixels, pixels / total)
            for pixels, right_pixels, mean in line.bins
            if mean is not None
        ]
        path = ' '.join(f'{x(mean):.1f},{y(share):.1f}' for mean, share, _ in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'
        )
        slot = (width - left - right) / len(line.bins)
        for place, (pixels, _, _) in enumerate(line.bins):
            tall = bars * pixels / total / longest
            parts.append(
                f'<rect x="{left + slot * (place + (0.1 + 0.8 * number / len(lines))):.1f}" y="{floor - tall:.1f}" '
                f'width="{0.8 * slot / len(lines):.1f}" height="{tall:.1f}" fill="{colour}"/>'
            )
        for mean, share, of_all in points:
            tooltip = f'{line.name}: {100 * of_all:.2f} % of the pixels, {100 * mean:.1f} % sure, {100 * share:.1f} % right'
            parts.append(_marker(number, x(mean), y(share), colour, tooltip))
    return Markup(''.join(parts) + '</svg>')


def legend_marker(number: int) -> Markup:
    """The marker of line ``number`` as a small SVG of its own."""
    colour = COLOURS[number % len(COLOURS)]
    mark = _marker(number, 12, 7, colour, '')
    return Markup(
        '<svg class="key" viewBox="0 0 24 14" aria-hidden="true">'
        f'<line x1="0" x2="24" y1="7" y2="7" stroke="{colour}" stroke-width="2"/>{mark}</svg>'
    )


def svg_text(x: float, y: float, text: str, *, anchor: str = 'middle') -> str:
    """A text of an SVG, ``x`` being its start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="{INK}">{escape(text)}</text>'


def _marker(number: int, x: float, y: float, colour: str, tooltip: str) -> str:
    title = f'<title>{escape(tooltip)}</title>' if tooltip else ''
    style = f'fill="{colour}" stroke="#fff" stroke-width="1"'
    kind = _MARKERS[number % len(_MARKERS)]
    if kind == 'circle':
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {style}>{title}</circle>'
    shapes: dict[str, list[tuple[float, float]]] = {
        'square': [(-4, -4), (4, -4), (4, 4), (-4, 4)],
        'triangle': [(0, -5.5), (5, 4), (-5, 4)],
        'diamond': [(0, -6), (6, 0), (0, 6), (-6, 0)],
        'cross': [
            (-2, -5),
            (2, -5),
            (2, -2),
            (5, -2),
            (5, 2),
            (2, 2),
            (2, 5),
            (-2, 5),
            (-2, 2),
            (-5, 2),
            (-5, -2),
            (-2, -2),
        ],
        'bar': [(-2, -6), (2, -6), (2, 6), (-2, 6)],
    }
    points = ' '.join(f'{x + dx:.1f},{y + dy:.1f}' for dx, dy in shapes[kind])
    return f'<polygon points="{points}" {style}>{title}</polygon>'


def heat(value: float | None) -> str:
    """CSS colours of a heat map cell for 0 to 100 percent: its ground, and a text colour that is readable on it."""
    if value is None:
        return 'background:#f1f3f5;color:#5f6b76'
    place = min(max(value / 100, 0.0), 1.0) * (len(_SCALE) - 1)
    lower = min(int(place), len(_SCALE) - 2)
    ground = [
        round(a + (b - a) * (place - lower)) for a, b in zip(_SCALE[lower], _SCALE[lower + 1], strict=True)
    ]
    luminance = sum(weight * _linear(c) for weight, c in zip((0.2126, 0.7152, 0.0722), ground, strict=True))
    # The better of white and black by WCAG's contrast ratio: one of them always reaches 4.5.
    dark = (luminance + 0.05) / 0.05 < 1.05 / (luminance + 0.05)
    return f'background:rgb({",".join(map(str, ground))});color:{"#fff" if dark else "#000"}'


def _linear(channel: int) -> float:
    share = channel / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
