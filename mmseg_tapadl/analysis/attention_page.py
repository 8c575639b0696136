"""``attention.html``: one self-contained page about one model, or about several on the same pictures."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_tapadl.analysis.heat_pictures import (
    BRANCH_COLOURS,
    OCTAVES,
    branch_uri,
    heads_uri,
    heat_uri,
    picture_uri,
    pooled,
    scale_stops,
)
from mmseg_tapadl.analysis.layer_charts import LayerLine, histogram_panel, layer_panel, legend_line
from mmseg_tapadl.analysis.picture_analysis import PictureResult
from mmseg_tapadl.analysis.picture_maps import LayerMaps, PictureMaps
from mmseg_tapadl.analysis.summary import RELATED
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.robustness.charts import COLOURS
from mmseg_tapadl.robustness.report import render
from mmseg_tapadl.utils import atomic_write, shown

MOST_CHARACTERS = 4_900_000
"""Of the page: 5 MB."""
DETAILS = (1, 2, 3, 4)
PICTURE_WIDTH = 800
SMALL_MAP = 64
LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
PANELS = {
    'similarity': ('Redundancy: the ADL value', 'How much the tokens look at the same few keys, 0 to 1.'),
    'concentration': (
        'Concentration',
        'Share of keys that get more than twice their even part of the attention of all.',
    ),
    'top_mass': ('Top 1 % of keys', 'Part of all attention that the most looked-at hundredth of keys gets.'),
    'entropy': (
        'Entropy of each row',
        'Of each head’s own rows, over the log of the number of keys: 1 is even.',
    ),
    'head_similarity': ('Heads alike', 'Mean cosine between the maps of two heads.'),
    'distance': ('Attention distance (pixels)', 'How far a token looks on average; mean over the heads.'),
    'prefix_attention': ('Attention to prefix tokens', 'Part that goes to class token and registers.'),
}
"""Measures with a panel of their own, their titles and what they mean."""


def write_page(
    content: dict[str, Any],
    path: str | os.PathLike,
    *,
    maps: Sequence[Sequence[PictureResult]],
    shown_cell: Cell | None,
    heads: Sequence[int] | None = None,
) -> Path:
    """Writes the page.

    Args:
        content: Of ``attention.json``.
        path: Where to write.
        maps: Of each model, the pictures that are shown.
        shown_cell: Whose maps stand beside the clean ones.
        heads: Whose looks are shown; ``None``: all.
    """
    models = [
        {**model, 'letter': LETTERS[number % len(LETTERS)], 'colour': COLOURS[number % len(COLOURS)]}
        for number, model in enumerate(content['models'])
    ]
    page = ''
    for detail in DETAILS:
        page = render_page(content, models, maps, shown_cell, heads, detail)
        if len(page) <= MOST_CHARACTERS:
            break
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(page)
    return Path(path)


def render_page(
    content: dict[str, Any],
    models: Sequence[dict[str, Any]],
    maps: Sequence[Sequence[PictureResult]],
    shown_cell: Cell | None,
    heads: Sequence[int] | None,
    detail: int,
) -> str:
    """The page with its maps averaged over ``detail`` x ``detail`` cells."""
    cell = None if shown_cell is None else shown_cell.name
    return render(
        'attention.html.j2',
        package='mmseg_tapadl.analysis',
        content=content,
        models=models,
        cell=cell,
        related=RELATED,
        panels=list(panels_of(models, cell)),
        stability=stability_of(models, content['cells']),
        pictures=[
            picture_view(number, same, models, shown_cell, heads, detail)
            for number, same in enumerate(zip(*maps, strict=True))
        ],
        octaves=OCTAVES,
        stops=scale_stops(),
        branch_colours=BRANCH_COLOURS,
        number=as_text,
    )


def as_text(value: float | None, digits: int = 3) -> str:
    """A number for people; a dash where there is none."""
    return '–' if value is None else f'{value:.{digits}f}'


def name_of(model: dict[str, Any], models: Sequence[dict[str, Any]]) -> str:
    """What a line is called: its condition alone where there is one model."""
    return f'{model["letter"]} ' if len(models) > 1 else ''


def panels_of(models: Sequence[dict[str, Any]], cell: str | None) -> Iterator[dict[str, Any]]:
    """A panel for each measure that has a meaning in some layer."""
    layers = longest_layers(models)
    for key, (title, meaning) in PANELS.items():
        lines = []
        for number, model in enumerate(models):
            for condition in (CLEAN.name, *([] if cell is None else [cell])):
                pairs = [value_of(layer, key, condition) for layer in model['layers']]
                values, errors = zip(*pairs, strict=True)
                if any(value is not None for value in values):
                    words = f'{name_of(model, models)}{condition.replace("_", " ")}'
                    lines.append(LayerLine(words, values, errors, number, condition != CLEAN.name))
        if lines:
            yield {
                'title': title,
                'meaning': meaning,
                'svg': layer_panel(lines, layers, title=f'{title}: {described(lines)}'),
                'legend': [(line.name, legend_line(line)) for line in lines],
            }


def value_of(layer: dict[str, Any], key: str, condition: str) -> tuple[float | None, float | None]:
    """A layer's value and standard error; the distance is the mean over its heads, whose errors go together."""
    of, errors = layer, layer['standard_error']
    if condition != CLEAN.name:
        of, errors = layer['corrupted'][condition], errors['corrupted'][condition]
    if key != 'distance':
        return of[key], errors[key]
    heads, its = of['attention_distance'], errors['attention_distance']
    if heads is None:
        return None, None
    return float(np.mean(heads)), None if its is None or None in its else float(np.mean(its))


def described(lines: Sequence[LayerLine]) -> str:
    """The lines in words: where each begins and ends."""
    words = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        words.append(f'{line.name} from {known[0]:.3g} in the first layer to {known[-1]:.3g} in the last')
    return '; '.join(words)


def longest_layers(models: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of the layers along the axis."""
    return [layer['layer'] for layer in max((model['layers'] for model in models), key=len)]


def stability_of(models: Sequence[dict[str, Any]], cells: Sequence[str]) -> dict[str, Any] | None:
    """Stability against the layers, and how the cosines of the last layer's rows are spread."""
    if not cells:
        return None
    lines, spread = [], []
    for number, model in enumerate(models):
        for place, cell in enumerate(cells):
            words = f'{name_of(model, models)}{cell.replace("_", " ")}'
            lines.append(
                LayerLine(
                    words,
                    [layer['stability'][cell] for layer in model['layers']],
                    [layer['standard_error']['stability'][cell] for layer in model['layers']],
                    number if len(models) > 1 else place,
                    len(models) > 1 and place > 0,
                )
            )
            last = model['layers'][-1]
            spread.append(
                LayerLine(words, last['row_cosines'][cell], [], number if len(models) > 1 else place)
            )
    dashes = [sum(other.model == line.model for other in spread[:i]) for i, line in enumerate(spread)]
    means = '; '.join(f'{line.name} {line.values[-1]:.3g}' for line in lines if line.values[-1] is not None)
    return {
        'svg': layer_panel(lines, longest_layers(models), title=f'Stability by layer: {described(lines)}'),
        'legend': [(line.name, legend_line(line)) for line in lines],
        'histogram': histogram_panel(spread, title=f'Cosines of the last layer’s rows; their means: {means}'),
        'histogram_legend': [
            (line.name, legend_line(line, dash)) for line, dash in zip(spread, dashes, strict=True)
        ],
    }


def picture_view(
    number: int,
    same: Sequence[PictureResult],
    models: Sequence[dict[str, Any]],
    shown_cell: Cell | None,
    heads: Sequence[int] | None,
    detail: int,
) -> dict[str, Any]:
    """All that is shown of one picture: the picture itself, and the maps of each model."""
    conditions = [CLEAN, *([] if shown_cell is None else [shown_cell])]
    first = same[0].maps[CLEAN]
    height, width = first.picture.shape[:2]
    return {
        'title': shown(Path(same[0].path).name),
        'ratio': width / height,
        'point': (100 * first.point[0] / width, 100 * first.point[1] / height),
        'pixel': tuple(math.floor(part) for part in first.point),
        'backgrounds': [
            {
                'key': f'p{number}{place}',
                'uri': picture_uri(same[0].maps[condition].picture, PICTURE_WIDTH // detail),
                'name': condition.name.replace('_', ' '),
                'miou': same[0].miou[condition],
            }
            for place, condition in enumerate(conditions)
        ],
        'models': [
            {
                'model': model,
                'layers': [
                    layer_view(
                        number,
                        [
                            (condition, result.maps[condition], result.maps[condition].layers[position])
                            for condition in conditions
                        ],
                        heads,
                        # The last layer is that of the paper's figures.
                        detail * (1 if position == len(result.maps[CLEAN].layers) - 1 else 2),
                        detail,
                    )
                    for position in range(len(result.maps[CLEAN].layers))
                ],
            }
            for model, result in zip(models, same, strict=True)
        ],
    }


def layer_view(
    number: int,
    maps: Sequence[tuple[Cell, PictureMaps, LayerMaps]],
    heads: Sequence[int] | None,
    map_side: int,
    look_side: int,
) -> dict[str, Any]:
    """The tiles of one layer, clean first; maps are averaged over cells of so many cells along their side."""
    layer = maps[0][2].layer
    view: dict[str, Any] = {
        'layer': layer,
        'looks': [],
        'means': [],
        'maps': [],
        'heads': [],
        'rows': [],
        'branches': [],
    }
    for place, (condition, picture, own) in enumerate(maps):
        words = f'Layer {layer}, {condition.name.replace("_", " ")}'
        key = f'p{number}{place}'
        size = picture.picture.shape[:2]
        look = own.look.astype(np.float32).mean(0)
        cells = pooled(own.mean, look_side).shape
        box = cells_box(cells, own.stride * look_side, size)
        view['looks'].append(
            {
                'key': key,
                'uri': heat_uri(pooled(look, look_side), overlay=True),
                'label': f'{words}: where the point looks. {strongest(look, own.stride)}',
                **box,
            }
        )
        view['means'].append(
            {
                'key': key,
                'uri': heat_uri(pooled(own.mean, look_side), overlay=True),
                'label': f'{words}: where all tokens look on average. {strongest(own.mean, own.stride)}',
                **box,
            }
        )
        view['maps'].append(
            {
                'uri': heat_uri(pooled_map(own.coarse[0], map_side)),
                'label': f'{words}: {map_words(own.coarse[0])}',
            }
        )
        view['heads'].append(
            [
                {
                    'head': head,
                    'uri': heat_uri(pooled_map(one, map_side)),
                    'label': f'{words}, head {head}: {map_words(one)}',
                }
                for head, one in enumerate(own.coarse[1:])
                if heads is None or head in heads
            ]
        )
        chosen = range(len(own.look)) if heads is None else heads
        view['rows'].append(
            {
                'heads': list(chosen),
                'uri': heads_uri(own.look[list(chosen)]),
                'label': f'{words}: where the point looks, by head. '
                + ' '.join(f'Head {head}: {strongest(own.look[head], own.stride)}' for head in chosen),
            }
        )
        if own.branch is not None:
            shares = np.bincount(own.branch.ravel(), minlength=1) / own.branch.size
            told = ', '.join(f'{100 * share:.0f} % branch {k}' for k, share in enumerate(shares) if share)
            view['branches'].append(
                {
                    'key': key,
                    'uri': branch_uri(own.branch),
                    'label': f'{words}: preferred branch of TAP. {told}',
                    **cells_box(own.branch.shape, own.branch_stride, size),
                }
            )
    return view


def pooled_map(values: np.ndarray, side: int) -> np.ndarray:
    """An N x N map averaged over cells; a small one stays as it is."""
    return pooled(values.astype(np.float64), side) if min(values.shape) > SMALL_MAP else values


def cells_box(cells: tuple[int, ...], stride: int, size: tuple[int, ...]) -> dict[str, float]:
    """How large the cells are together, in percent of the picture that they lie over."""
    return {'width': 100 * cells[1] * stride / size[1], 'height': 100 * cells[0] * stride / size[0]}


def strongest(values: np.ndarray, stride: int) -> str:
    """In words where a map is strongest."""
    row, column = np.unravel_index(np.argmax(values), values.shape)
    x, y = (round((place + 0.5) * stride) for place in (column, row))
    return f'Most at x {x}, y {y}: {float(values[row, column]):.1f} times even.'


def map_words(values: np.ndarray) -> str:
    """In words what a map of rows and columns shows."""
    columns = values.astype(np.float64).mean(0)
    diagonal = ''
    if values.shape[0] == values.shape[1]:
        diagonal = f' The diagonal is {float(np.diagonal(values).astype(np.float64).mean()):.1f} times even.'
    above = 100 * float((columns > 2).mean())
    return (
        f'map of {values.shape[0]} by {values.shape[1]} cells. {above:.0f} % of the columns are above twice even, the '
        f'strongest is {columns.max():.1f} times even.{diagonal}'
    )
