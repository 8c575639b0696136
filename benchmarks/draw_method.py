"""Draws the method, TAP on the left and ADL on the right, as docs/images/method.svg.

python benchmarks/draw_method.py
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[1] / 'docs' / 'images' / 'method.svg'
INK, SOFT, LINE, GROUND = '#1c2630', '#56636f', '#b8c2cc', '#f5f7f9'
BLUE, ORANGE, GREEN, PINK = '#0072b2', '#e69f00', '#009e73', '#cc79a7'
BRANCHES = (BLUE, ORANGE, GREEN, PINK)
SIDE, CELL = 7, 8


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 13,
    anchor: str = 'middle',
    colour: str = INK,
    bold: bool = False,
) -> str:
    weight = ' font-weight="600"' if bold else ''
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{weight}>{words}</text>'


def box(x: float, y: float, width: float, height: float, words: str, *, fill: str = '#fff') -> str:
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{INK}" stroke-width="1.3"/>'
    return frame + text(x + width / 2, y + height / 2 + 4.5, words)


def arrow(*points: tuple[float, float]) -> str:
    path = ' '.join(f'{x},{y}' for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{SOFT}" stroke-width="1.6" marker-end="url(#tip)"/>'
    )


def neighbourhood(x: float, y: float, dilation: int, colour: str) -> Iterator[str]:
    """7 x 7 tokens, of which those that a branch averages are coloured."""
    middle = SIDE // 2
    for row in range(SIDE):
        for column in range(SIDE):
            steps = abs(row - middle), abs(column - middle)
            is_in = all(step in (0, dilation) for step in steps)
            centre = steps == (0, 0)
            fill = colour if is_in else '#fff'
            stroke = INK if centre else LINE
            yield (
                f'<rect x="{x + CELL * column}" y="{y + CELL * row}" width="{CELL}" height="{CELL}" fill="{fill}" '
                f'stroke="{stroke}" stroke-width="{1.4 if centre else 0.7}"/>'
            )


def matrix(x: float, y: float, values: np.ndarray, cell: float, colour: str = BLUE) -> Iterator[str]:
    """Attention, the darker the more."""
    for (row, column), value in np.ndenumerate(values):
        yield (
            f'<rect x="{x + cell * column:.1f}" y="{y + cell * row:.1f}" width="{cell}" height="{cell}" fill="{colour}" '
            f'fill-opacity="{value:.2f}" stroke="{LINE}" stroke-width="0.5"/>'
        )


def pooling() -> Iterator[str]:
    """TAP: K branches and the predictor of their weights."""
    yield text(20, 34, 'Token-aware average pooling (TAP)', size=17, anchor='start', bold=True)
    yield text(
        20, 54, 'each token is replaced by its own mixture of local averages', anchor='start', colour=SOFT
    )
    yield box(20, 226, 74, 44, 'tokens')
    yield arrow((94, 248), (126, 248), (126, 90), (158, 90))
    yield box(160, 72, 74, 36, 'conv 3×3')
    yield arrow((234, 90), (252, 90))
    yield box(254, 72, 74, 36, 'conv 3×3')
    yield arrow((328, 90), (346, 90))
    yield box(348, 72, 88, 36, 'softmax')
    yield text(444, 94, 'over the K branches', size=11, anchor='start', colour=SOFT)
    yield f'<line x1="412" x2="412" y1="108" y2="372" stroke="{SOFT}" stroke-width="1.6" stroke-dasharray="4 4"/>'
    words = ('the token itself', 'mean of 3 × 3', 'mean, 2 apart', 'mean, 3 apart')
    for d, (colour, told) in enumerate(zip(BRANCHES, words, strict=True)):
        top = 140 + 68 * d
        middle = top + SIDE * CELL / 2
        yield arrow((126, 248), (126, middle), (158, middle))
        yield from neighbourhood(162, top, d, colour)
        yield text(230, middle - 3, f'd = {d}', anchor='start', bold=True)
        yield text(230, middle + 13, told, size=12, anchor='start', colour=SOFT)
        yield f'<line x1="330" x2="396" y1="{middle}" y2="{middle}" stroke="{SOFT}" stroke-width="1.6"/>'
        yield f'<circle cx="412" cy="{middle}" r="15" fill="#fff"/>'
        yield (
            f'<circle cx="412" cy="{middle}" r="15" fill="{colour}" fill-opacity=".25" stroke="{colour}" stroke-width="1.6"/>'
        )
        yield text(412, middle + 4.5, f'w<tspan font-size="9" dy="3">{d}</tspan>')
        yield f'<line x1="427" x2="470" y1="{middle}" y2="{middle}" stroke="{SOFT}" stroke-width="1.6"/>'
    yield f'<line x1="470" x2="470" y1="168" y2="372" stroke="{SOFT}" stroke-width="1.6"/>'
    yield arrow((470, 270), (488, 270))
    yield f'<circle cx="502" cy="270" r="12" fill="#fff" stroke="{INK}" stroke-width="1.3"/>' + text(
        502, 275, '+'
    )
    yield arrow((514, 270), (532, 270))
    yield box(534, 238, 92, 64, '')
    yield text(580, 266, 'norm and')
    yield text(580, 284, 'attention')


def diversification() -> Iterator[str]:
    """ADL: each row of attention compared with the mean row."""
    yield text(676, 34, 'Attention diversification loss (ADL)', size=17, anchor='start', bold=True)
    yield text(
        676, 54, 'in training, tokens are kept from all looking at the same few', anchor='start', colour=SOFT
    )
    rng = np.random.default_rng(5)
    rows = 0.08 * rng.random((8, 8))
    rows[:, (2, 5)] += 0.55 + 0.3 * rng.random((8, 2))
    rows[3, 6] = rows[6, 1] = 0.5
    yield arrow((626, 270), (650, 270), (650, 110), (684, 110))
    yield from matrix(690, 86, rows, 20)
    yield text(770, 262, 'tokens looked at', size=11, colour=SOFT)
    yield f'<text transform="translate(682 222) rotate(-90)" font-size="11" fill="{SOFT}">tokens that look</text>'
    yield text(690, 80, 'attention, mean of the heads', size=12, anchor='start', colour=SOFT)
    mean = rows.mean(0, keepdims=True)
    yield arrow((770, 270), (770, 300))
    yield text(782, 290, 'mean', size=12, anchor='start')
    yield from matrix(690, 306, mean, 20, ORANGE)
    yield text(690, 344, 'the mean row', size=12, anchor='start', colour=SOFT)
    yield arrow((852, 166), (876, 166))
    yield arrow((852, 316), (864, 316), (864, 200), (876, 200))
    yield box(878, 146, 206, 74, '')
    yield text(981, 170, 'keep what is above')
    yield text(981, 188, 'τ / N, then the cosine of')
    yield text(981, 206, 'each row with the mean row')
    yield arrow((981, 220), (981, 252))
    yield box(922, 254, 118, 36, 'mean over rows')
    yield arrow((981, 290), (981, 318))
    yield text(981, 338, 'loss, 0 to 1', bold=True)
    diverse = 0.08 * rng.random((8, 8)) + 0.6 * np.eye(8) + 0.3 * (np.eye(8, k=1) + np.eye(8, k=-1))
    yield from matrix(690, 366, rows, 7)
    yield text(756, 392, 'all look alike: near 1', size=12, anchor='start')
    yield from matrix(890, 366, np.minimum(diverse, 1), 7)
    yield text(956, 392, 'each its own: near 0', size=12, anchor='start')


def drawing() -> str:
    """The whole SVG."""
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1100 436" font-family="system-ui, Segoe UI, Helvetica, Arial, '
        'sans-serif" role="img"><title>The method: TAP mixes K local averages with weights that a small predictor gives each '
        'token; ADL compares each row of attention with the mean row</title>'
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{SOFT}"/></marker></defs>'
        f'<rect width="1100" height="436" fill="#fff"/><rect x="6" y="6" width="634" height="424" rx="10" fill="{GROUND}"/>'
        f'<rect x="660" y="6" width="434" height="424" rx="10" fill="{GROUND}"/>'
    )
    return head + ''.join((*pooling(), *diversification())) + '</svg>\n'


if __name__ == '__main__':
    OUT.write_text(drawing(), encoding='utf-8')
    print(f'wrote {OUT}')
