"""A study's results as Markdown, to paste."""

from collections.abc import Mapping
from typing import Any

from mmseg_tapadl.evaluation.robustness_presets import group_of


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The primary difference as a sentence, the variants by measure, and the differences with their intervals."""
    groups = [name for name in summary['measures'] if name in _groups(summary)]
    corruptions = [name for name in summary['measures'] if name in _corruptions(summary)]
    headline = [name for name in summary['measures'] if name not in corruptions]
    against = summary['primary']['against']
    parts = [
        f'**{primary_sentence(summary)}**',
        _variants(summary, headline),
        f'mIoU in percent, mean over seeds ± standard deviation.{_means_of(groups)}',
        _variants(summary, corruptions) if corruptions else '',
        _differences(summary, headline),
        f'Differences to {against}, paired by seed, with the 95 % t-interval over seeds.',
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def primary_sentence(summary: Mapping[str, Any]) -> str:
    """What the study says of its primary difference."""
    primary = summary['primary']
    told = next(d for d in summary['differences'] if all(d[key] == primary[key] for key in primary))
    name = f'{told["variant"]} minus {told["against"]}, {told["measure"]}'
    if told['mean'] is None:
        return f'{name}: not measured yet'
    seeds = f'{len(told["seeds"])} {"seed" if len(told["seeds"]) == 1 else "seeds"}'
    if told['low'] is None:
        return f'{name}: {told["mean"]:+.2f} ({seeds}). {told["note"]}'
    tested = '' if told['p_value'] is None else f', sign-flip p = {told["p_value"]:.3g}'
    return f'{name}: {told["mean"]:+.2f} [{told["low"]:+.2f}, {told["high"]:+.2f}] (95 % t-interval over {seeds}{tested})'


def _corruptions(summary: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(cell.rpartition('_')[0] for cell in summary['measured']['cells']))


def _groups(summary: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(map(group_of, _corruptions(summary))))


def _means_of(groups: list[str]) -> str:
    return f' {", ".join(groups)}: the mean of the measured corruptions of each kind.' if groups else ''


def _variants(summary: Mapping[str, Any], measures: list[str]) -> str:
    rows = [_row('variant', *(words(name) for name in measures)), _row('---', *('---:' for _ in measures))]
    for variant in summary['variants']:
        cells = (variant['figures'][name] for name in measures)
        rows.append(_row(variant['name'], *(_spread(cell) for cell in cells)))
    return '\n'.join(rows)


def _differences(summary: Mapping[str, Any], measures: list[str]) -> str:
    against = summary['primary']['against']
    known = {(d['variant'], d['measure']): d for d in summary['differences'] if d['against'] == against}
    names = [v['name'] for v in summary['variants'] if v['name'] != against]
    rows = [_row('variant', *(words(name) for name in measures)), _row('---', *('---:' for _ in measures))]
    rows += [_row(name, *(_interval(known[(name, measure)]) for measure in measures)) for name in names]
    return '\n'.join(rows)


def _spread(figures: Mapping[str, Any]) -> str:
    if figures['mean'] is None:
        return ''
    return f'{figures["mean"]:.2f}' + (f' ± {figures["sd"]:.2f}' if figures['sd'] is not None else '')


def _interval(told: Mapping[str, Any]) -> str:
    if told['mean'] is None:
        return ''
    return f'{told["mean"]:+.2f}' + (
        f' [{told["low"]:+.2f}, {told["high"]:+.2f}]' if told['low'] is not None else ''
    )


def words(name: str) -> str:
    """A measure's name for people."""
    return name.replace('acdc', 'ACDC').replace('_', ' ')


def _row(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'
