"""Several models side by side: ``compare.html``."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmseg_tapadl.evaluation.robustness_presets import group_of
from mmseg_tapadl.robustness.charts import COLOURS, axis_top
from mmseg_tapadl.robustness.compared_rows import Comparison, Row, compare, resampled_difference
from mmseg_tapadl.robustness.report import render
from mmseg_tapadl.robustness.results import ResultError, read_results
from mmseg_tapadl.robustness.side_by_side import RULE, side_by_side
from mmseg_tapadl.utils import atomic_write

__all__ = ['compare', 'resampled_difference', 'write_comparison']
_MOST_MODELS = 26


def write_comparison(
    files: list[str], out: str | os.PathLike, *, pictures: Sequence[str] = ()
) -> tuple[Path, list[Row]]:
    """Reads results and writes one self-contained page.

    The differences are to the first file. They are within noise when their bootstrap interval (95 %) holds 0;
    models that saw the same pictures are resampled together, picture by picture.

    Args:
        files: Two or more ``robustness.json``.
        out: Where to write.
        pictures: Ends of names of pictures to show beside those of the largest differences.

    Returns:
        ``out`` and the headline rows, for the screen.

    Raises:
        ResultError: For a file that cannot be read, or measured other cells than the first, and for named
            pictures that were not kept.
    """
    if not 2 <= len(files) <= _MOST_MODELS:
        raise ResultError(f'a comparison needs 2 to {_MOST_MODELS} files, got {len(files)}')
    if any(os.path.realpath(file) == os.path.realpath(out) for file in files):
        raise ResultError(f'{out} is one of the files to compare and would be overwritten by the page')
    models = [read_results(file) for file in files]
    _check_comparable(files, models)
    comparison = Comparison(models)
    headline, conditions = comparison.headline(), comparison.conditions()
    corruptions = comparison.corruptions()
    groups = _grouped(corruptions)
    palette = models[0].get('palette') or {}
    if pictures and not palette:
        raise ResultError(f'{files[0]}: was written before results held colours; measure the model again')
    same_classes = all(model['classes'] == models[0]['classes'] for model in models)
    if pictures and not same_classes:
        raise ResultError(
            'the classes of the models differ, so their label maps cannot be shown side by side'
        )
    shown = side_by_side(files, models, list(palette.values()), pictures) if palette and same_classes else []
    letters = [chr(ord('A') + number) for number in range(len(models))]
    page = render(
        'compare.html.j2',
        models=models,
        names=_names(models, files),
        letters=letters,
        colours=[COLOURS[number % len(COLOURS)] for number in range(len(models))],
        headline=[*headline[:2], comparison.worst(), *headline[2:]],
        groups=groups,
        bars={**({'conditions of the clean pictures': conditions} if conditions else {}), **groups},
        conditions=conditions,
        cells=comparison.cells(),
        sure=comparison.how_sure(),
        notes=_notes(models, letters),
        pictures=shown,
        pictures_rule=RULE,
        palette=palette,
        top=axis_top(
            [
                entry.value
                for row in [headline[0], *conditions, *corruptions]
                for entry in row.entries
                if entry.value
            ]
        ),
    )
    with atomic_write(out, 'w', encoding='utf-8') as file:
        file.write(page)
    return Path(out), headline


def _check_comparable(files: list[str], models: list[dict]) -> None:
    wanted = sorted((c['corruption'], c['severity']) for c in models[0]['cells'])
    for file, model in zip(files[1:], models[1:], strict=True):
        found = sorted((c['corruption'], c['severity']) for c in model['cells'])
        if found != wanted:
            raise ResultError(
                f'{file}: measured other cells ({model["preset"]}, {len(found)} cells) than {files[0]} '
                f'({models[0]["preset"]}, {len(wanted)} cells); only equal ones can be compared'
            )


def _names(models: list[dict], files: list[str]) -> list[str]:
    names = [model['name'] for model in models]
    # Models of one config are told apart by the folder of their file.
    return [
        name if names.count(name) == 1 else f'{name} ({Path(file).resolve().parent.name})'
        for name, file in zip(names, files, strict=True)
    ]


def _grouped(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group_of(row.key), []).append(row)
    return groups


def _notes(models: list[dict], letters: list[str]) -> list[str]:
    """What a reader must know before believing a difference."""
    notes = []
    for key, text in (
        ('classes', 'the classes differ, so the mIoU is a mean over others'),
        ('channel_order', 'the channel order of the corruptions differs'),
        ('seed', 'the seed of the corruptions differs'),
        ('versions', 'the library versions differ'),
    ):
        others = [
            letter for letter, model in zip(letters, models, strict=True) if model[key] != models[0][key]
        ]
        if others:
            notes.append(f'{" and ".join(others)} against A: {text}')
    temperatures = [(model.get('temperature') or {}).get('value') for model in models]
    if len(set(temperatures)) > 1:
        told = (
            f'{letter} {"as given" if value is None else f"at temperature {value:.4g}"}'
            for letter, value in zip(letters, temperatures, strict=True)
        )
        notes.append(f'the confidence was measured at different temperatures: {", ".join(told)}')
    if len({model['pictures']['sha256'] for model in models}) > 1:
        notes.append(
            'the models were not measured on the same pictures, so the noise is that of independent samples'
        )
    return notes
