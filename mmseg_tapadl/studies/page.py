"""``study.html``: one self-contained page about a study."""

from collections.abc import Mapping
from typing import Any

from mmseg_tapadl.evaluation.robustness_presets import group_of
from mmseg_tapadl.robustness.charts import COLOURS
from mmseg_tapadl.robustness.report import render
from mmseg_tapadl.studies.charts import Curve, DotRow, curve_panel, dot_panel
from mmseg_tapadl.studies.tables import primary_sentence, words

_LOSSES = {'loss': 'Loss, all of it', 'loss_adl': 'Attention diversification loss'}


def as_page(summary: Mapping[str, Any]) -> str:
    """The page of a study's summary, as :func:`~mmseg_tapadl.studies.summary.build_summary` makes it."""
    primary = summary['primary']
    told = next(d for d in summary['differences'] if all(d[key] == primary[key] for key in primary))
    finished = [run for run in summary['runs'] if run['status'] == 'finished']
    corruptions = list(dict.fromkeys(cell.rpartition('_')[0] for cell in summary['measured']['cells']))
    groups = list(dict.fromkeys(map(group_of, corruptions)))
    headline = [name for name in summary['measures'] if name not in corruptions and name not in groups]
    return render(
        'study.html.j2',
        package='mmseg_tapadl.studies',
        summary=summary,
        primary=told,
        sentence=primary_sentence(summary),
        finished=len(finished),
        failed=[run for run in summary['runs'] if run['status'] == 'failed'],
        seconds=sum(sum(run['seconds'].values()) for run in finished),
        colours={v['name']: COLOURS[i % len(COLOURS)] for i, v in enumerate(summary['variants'])},
        primary_panel=dot_panel(
            [
                _difference_row(summary, name, told['against'], told['measure'])
                for name in _others(summary, told['against'])
            ],
            title=f'Differences in {told["measure"]} to {told["against"]}',
            unit=f'{words(told["measure"])}: mIoU (%) minus {told["against"]}',
            zero=True,
            sign=True,
        ),
        sections=[
            (title, [_panels(summary, measure) for measure in measures])
            for title, measures in (
                ('Clean and mean', headline),
                ('Groups', groups),
                ('Each corruption', corruptions),
            )
            if measures
        ],
        curves=_curves(summary, finished),
        headline=[*headline, *groups],
        corruptions=corruptions,
        differences={
            (d['variant'], d['measure']): d for d in summary['differences'] if d['against'] == told['against']
        },
        others=_others(summary, told['against']),
    )


def _others(summary: Mapping[str, Any], against: str) -> list[str]:
    return [variant['name'] for variant in summary['variants'] if variant['name'] != against]


def _panels(summary: Mapping[str, Any], measure: str) -> dict[str, Any]:
    rows = []
    for number, variant in enumerate(summary['variants']):
        figures = variant['figures'][measure]
        values = {int(seed): value for seed, value in figures['values'].items()}
        rows.append(DotRow(variant['name'], values, figures['mean'], figures['low'], figures['high'], number))
    against = summary['primary']['against']
    differences = [_difference_row(summary, name, against, measure) for name in _others(summary, against)]
    name = words(measure)
    return {
        'name': name,
        'values': dot_panel(rows, title=f'{name} by variant', unit='mIoU (%)'),
        'differences': dot_panel(
            differences, title=f'{name}: differences', unit=f'minus {against}', zero=True, sign=True
        ),
    }


def _difference_row(summary: Mapping[str, Any], variant: str, against: str, measure: str) -> DotRow:
    found = next(
        d
        for d in summary['differences']
        if (d['variant'], d['against'], d['measure']) == (variant, against, measure)
    )
    number = [entry['name'] for entry in summary['variants']].index(variant)
    values = dict(zip(found['seeds'], found['values'], strict=True))
    return DotRow(variant, values, found['mean'], found['low'], found['high'], number)


def _curves(summary: Mapping[str, Any], finished: list[dict]) -> list[tuple[str, Any]]:
    names = [variant['name'] for variant in summary['variants']]
    panels = []
    for loss, title in _LOSSES.items():
        curves = []
        for run in finished:
            curve = run.get('curve') or {}
            points = [
                (i, v)
                for i, v in zip(curve.get('iter', ()), curve.get(loss, ()), strict=False)
                if v is not None
            ]
            if points:
                curves.append(
                    Curve(f'{run["variant"]}, seed {run["seed"]}', points, names.index(run['variant']))
                )
        if curves:
            panels.append((title, curve_panel(curves, title=title)))
    return panels
