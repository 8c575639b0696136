"""``report.html``: one self-contained page about one model."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmseg_tapadl.datasets.corruptions import CORRUPTION_GROUPS
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell, group_of
from mmseg_tapadl.robustness.bootstrap import RESAMPLES, VIDEO_NOTE
from mmseg_tapadl.robustness.charts import Line, axis_top, heat, legend_marker, severity_panel
from mmseg_tapadl.robustness.example_strips import Example
from mmseg_tapadl.robustness.published import comparable, published_models
from mmseg_tapadl.robustness.report_sections import confusions, how_sure
from mmseg_tapadl.robustness.small_views import RIGHT_COLOUR, VOID_COLOUR, WRONG_COLOUR
from mmseg_tapadl.robustness.worst_pictures import RULE, WorstOfCondition
from mmseg_tapadl.utils import atomic_write, shown
from mmseg_tapadl.version import __version__


def render(template: str, *, package: str = 'mmseg_tapadl.robustness', **content: Any) -> str:
    """Renders a template of a package, which may extend those here; everything that is not marked safe is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader('mmseg_tapadl.robustness')]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Names of files may hold what UTF-8 cannot write.
        finalize=lambda value: (
            shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
    )
    environment.filters['words'] = lambda name: name.replace('_', ' ')
    environment.filters['percent'] = lambda value: '–' if value is None else f'{value:.2f}'
    environment.filters['heat'] = heat
    facts = {'toolkit_version': __version__, 'resamples': RESAMPLES, 'video_note': VIDEO_NOTE}
    return environment.get_template(template).render(**facts, **content)


def write_report(
    results: dict,
    path: str | os.PathLike,
    *,
    examples: dict[Cell, list[Example]],
    palette: dict[str, tuple[int, int, int]],
    worst: Iterable[WorstOfCondition] = (),
) -> Path:
    """Writes the page.

    Args:
        results: The content of ``robustness.json``.
        path: Where to write.
        examples: Pictures of the best and of the worst cell.
        palette: RGB of every class by name.
        worst: The worst pictures of every condition.

    Returns:
        ``path``.
    """
    heat_map = _heat_map(results)
    rows = published_models() if comparable(results) else []
    page = render(
        'report.html.j2',
        results=results,
        groups=_groups(results),
        heat_map=[row for row in heat_map if not _absent(row)],
        absent=[row['name'] for row in heat_map if _absent(row)],
        strips=_strips(results, examples),
        palette=palette,
        bar_top=axis_top(
            [
                results['clean']['mIoU'],
                *results['corruptions'].values(),
                *(entry['mIoU'] or 0.0 for entry in results['conditions'].values()),
                *(value for row in rows for value in (row['corruptions'] or {}).values()),
            ]
        ),
        published=rows,
        sure=how_sure(results),
        confusions=confusions(results),
        worst=list(worst),
        worst_rule=RULE,
        verdicts={'right': RIGHT_COLOUR, 'wrong': WRONG_COLOUR, 'not labelled, not counted': VOID_COLOUR},
    )
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(page)
    return Path(path)


def _groups(results: dict) -> list[dict]:
    """The four groups (those that were measured), each with its panel, its legend and its bars."""
    clean = results['clean']['mIoU']
    top = axis_top([clean, *(cell['mIoU'] for cell in results['cells'])])
    groups = []
    for group in CORRUPTION_GROUPS:
        names = [name for name in results['corruptions'] if group_of(name) == group]
        if not names:
            continue
        lines = [
            Line(
                name.replace('_', ' '),
                sorted((c['severity'], c['mIoU']) for c in results['cells'] if c['corruption'] == name),
            )
            for name in names
        ]
        groups.append(
            {
                'name': group,
                'panel': severity_panel(
                    lines, clean=clean, top=top, title=f'mIoU against severity of {group}'
                ),
                'legend': [(line.name, legend_marker(number)) for number, line in enumerate(lines)],
                'bars': [(name, results['corruptions'][name]) for name in names],
                'mean': sum(results['corruptions'][name] for name in names) / len(names),
            }
        )
    return groups


def _heat_map(results: dict) -> list[dict]:
    """A row a class: IoU when clean and averaged over each corruption's severities (None where never defined)."""
    rows = []
    for name in results['classes']:
        means = {}
        for corruption in results['corruptions']:
            values = [c['IoU'][name] for c in results['cells'] if c['corruption'] == corruption]
            defined = [value for value in values if value is not None]
            means[corruption] = sum(defined) / len(defined) if defined else None
        conditions = {key: entry['IoU'][name] for key, entry in results['conditions'].items()}
        rows.append(
            {'name': name, 'clean': results['clean']['IoU'][name], 'means': means, 'conditions': conditions}
        )
    return rows


def _absent(row: dict) -> bool:
    """Whether a class is undefined in every cell: it neither occurs nor is it predicted."""
    return row['clean'] is None and all(value is None for value in row['means'].values())


def _strips(results: dict, examples: dict[Cell, list[Example]]) -> list[dict]:
    miou = {Cell(cell['corruption'], cell['severity']): cell['mIoU'] for cell in results['cells']}
    strips = []
    for number, (cell, pictures) in enumerate(examples.items()):
        assert cell != CLEAN
        verdict = 'The only cell' if len(examples) == 1 else ('Best cell', 'Worst cell')[number]
        strips.append({'verdict': verdict, 'cell': cell, 'mIoU': miou[cell], 'pictures': pictures})
    return strips
