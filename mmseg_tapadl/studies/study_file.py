"""What a study is: a Python file that names variants of one config, seeds and what is measured, read with care."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_tapadl.datasets.acdc import CONDITIONS
from mmseg_tapadl.engine.config import found_config
from mmseg_tapadl.evaluation.robustness_presets import Cell, group_of, select_cells
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.arguments import did_you_mean

_KEYS = (
    *('title', 'base', 'changes', 'variants', 'baseline', 'seeds', 'measure', 'primary', 'expectation'),
    *('data', 'pretrained', 'amp'),
)
_MEASURE_KEYS = ('sweep', 'cells', 'acdc')
_SWEEP_KEYS = ('preset', 'corruptions', 'severities')
_PRIMARY_KEYS = ('variant', 'against', 'measure')
# A variant names a folder.
_NAME = re.compile(r'[0-9A-Za-z][-+=.,0-9A-Za-z_]*')


class StudyError(InputError):
    """A study that cannot be run as it is written; the message names the file and the key."""


@dataclass(frozen=True)
class Primary:
    """The difference that a study is about, named before it is run.

    Attributes:
        variant: Whose figure counts.
        against: Whose is taken away.
        measure: Which figure, one of :attr:`Study.measures`.
    """

    variant: str
    against: str
    measure: str


@dataclass(frozen=True)
class Study:
    """A study as its file describes it.

    Attributes:
        file: Where it stands.
        title: One line for the page.
        base: The config that all variants start from.
        changes: Changes that every variant has, as ``--cfg-options`` names them.
        variants: The changes of each variant by name; of the baseline, which comes first, none.
        seeds: Of every variant.
        cells: What is measured beside the clean pictures, in order; empty for a study without corruptions.
        acdc: A folder of ACDC or a config whose test data are measured too; None for none.
        primary: The difference the study is about.
        expectation: What was expected before, in words.
        data: A folder that takes the place of every ``data_root``, or a ``data.yaml``; None leaves the base config's.
        pretrained: Weights of the encoder to start from; None for the base config's own start.
        amp: Mixed precision.
    """

    file: Path
    title: str
    base: Path
    changes: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    acdc: str | None
    primary: Primary
    expectation: str
    data: str | None
    pretrained: str | None
    amp: bool

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.file.stem

    @property
    def corruptions(self) -> list[str]:
        """Names of the measured corruptions, in order."""
        return list(dict.fromkeys(cell.corruption for cell in self.cells))

    @property
    def measures(self) -> list[str]:
        """What a difference can be taken of: one figure a run each."""
        return measures_of(self.cells, with_acdc=self.acdc is not None)


def measures_of(cells: Sequence[Cell], *, with_acdc: bool) -> list[str]:
    """``clean``, and where they are measured ``mPC``, groups, corruptions and ACDC with its conditions."""
    corruptions = list(dict.fromkeys(cell.corruption for cell in cells))
    groups = list(dict.fromkeys(map(group_of, corruptions)))
    found = ['clean', *(['mPC'] if cells else []), *groups, *corruptions]
    if with_acdc:
        found += ['acdc', *(f'acdc_{condition}' for condition in CONDITIONS)]
    return found


def read_study(
    path: str | os.PathLike,
    *,
    seeds: Sequence[int] | None = None,
    data: str | None = None,
    pretrained: str | None = None,
) -> Study:
    """Reads a study's file. It is a program and runs as one, as every config.

    Args:
        path: The file.
        seeds: In place of the file's.
        data: In place of the file's.
        pretrained: In place of the file's.

    Raises:
        StudyError: In one line: a file that is missing or broken, a key that no study has, a seed twice, a primary
            difference of variants or measures that there are not, ...
    """
    file = Path(found_config(path))
    if not file.is_file():
        raise StudyError(f'{file}: no such study')
    try:
        content = Config.fromfile(file).to_dict()
    except Exception as error:  # a config is a program
        raise StudyError(f'{file}: cannot be read: {type(error).__name__}: {error}') from error
    content = {key: value for key, value in content.items() if not key.startswith('_')}
    try:
        return _study_of(file, content, seeds=seeds, data=data, pretrained=pretrained)
    except StudyError:
        raise
    except InputError as error:
        raise StudyError(f'{file}: {error}') from error


def _study_of(file: Path, content: dict, *, seeds: Any, data: str | None, pretrained: str | None) -> Study:
    _only(file, 'a study', content, _KEYS)
    for key in ('base', 'variants', 'seeds', 'primary'):
        if key not in content:
            raise StudyError(f'{file}: {key} is missing; a study has {", ".join(_KEYS)}')
    base = file.parent / str(content['base'])
    if not base.is_file():
        raise StudyError(
            f'{file}: base: no such config {base} (it is looked for from the folder of the study)'
        )
    variants = _variants(file, content)
    measure = _dict(file, 'measure', content.get('measure', {}))
    _only(file, 'measure', measure, _MEASURE_KEYS)
    cells = tuple(_cells(file, measure))
    acdc = measure.get('acdc')
    if acdc is not None and not isinstance(acdc, str):
        raise StudyError(f'{file}: measure.acdc={acdc!r}: must be a folder of ACDC or a config')
    for key in ('data', 'pretrained'):
        if not isinstance(content.get(key), (str, type(None))):
            raise StudyError(f'{file}: {key}={content[key]!r}: must be a path')
    return Study(
        file=file,
        title=str(content.get('title') or file.stem.replace('_', ' ')),
        base=base,
        changes=_dict(file, 'changes', content.get('changes', {})),
        variants=variants,
        seeds=check_seeds(
            '--seeds' if seeds is not None else f'{file}: seeds',
            seeds if seeds is not None else content['seeds'],
        ),
        cells=cells,
        acdc=acdc,
        primary=_primary(file, content['primary'], variants, measures_of(cells, with_acdc=acdc is not None)),
        expectation=str(content.get('expectation') or ''),
        data=data or content.get('data'),
        pretrained=pretrained or content.get('pretrained'),
        amp=bool(content.get('amp', False)),
    )


def _variants(file: Path, content: dict) -> dict[str, dict[str, Any]]:
    """The baseline, if there is one, and the variants, each name checked."""
    named = _dict(file, 'variants', content['variants'])
    baseline = content.get('baseline', 'base')
    if baseline is not None and baseline in named:
        raise StudyError(
            f'{file}: variants.{baseline}: the unchanged config is a variant by itself, called {baseline!r}; take the entry '
            'out, or name the unchanged config by baseline (baseline = None: leave it out)'
        )
    variants: dict[str, dict[str, Any]] = {} if baseline is None else {baseline: {}}
    for name, changes in named.items():
        if not isinstance(changes, Mapping):
            raise StudyError(f'{file}: variants.{name}={changes!r}: must be a dict of changes, key: value')
        if not changes:
            raise StudyError(
                f'{file}: variants.{name}: changes nothing; the unchanged config is a variant by itself (baseline)'
            )
        variants[name] = dict(changes)
    for name in variants:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise StudyError(
                f'{file}: variant {name!r}: a name is made of letters, digits and - + = . , _ and begins with a letter or '
                'digit'
            )
    lower = [name.lower() for name in variants]
    for name in variants:
        if lower.count(name.lower()) > 1:
            raise StudyError(f'{file}: variant {name!r}: another differs in upper and lower case alone')
    if len(variants) < 2:
        raise StudyError(
            f'{file}: variants: there must be two to compare, there is {", ".join(variants) or "none"}'
        )
    return variants


def check_seeds(where: str, seeds: Any) -> tuple[int, ...]:
    """Seeds as whole numbers from 0, each once.

    Raises:
        StudyError: Naming ``where`` they stand.
    """
    if not isinstance(seeds, (list, tuple)) or not seeds:
        raise StudyError(f'{where}: {seeds!r}: must be a list of whole numbers')
    known: set[int] = set()
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise StudyError(f'{where}: {seed!r}: must be a whole number from 0 to 2^32 - 1')
        if seed in known:
            raise StudyError(f'{where}: {seed} is there twice')
        known.add(seed)
    return tuple(seeds)


def _cells(file: Path, measure: dict) -> list[Cell]:
    sweep, cells = measure.get('sweep'), measure.get('cells')
    if sweep is not None and cells is not None:
        raise StudyError(f'{file}: measure: give sweep or cells, not both')
    if cells is not None:
        found = []
        for corruption, severities in _dict(file, 'measure.cells', cells).items():
            chosen = [severities] if isinstance(severities, int) else list(severities)
            found += select_cells('cityscapes-c', corruptions=[corruption], severities=chosen)
        if not found:
            raise StudyError(
                f'{file}: measure.cells: there is none; leave it out to measure the clean pictures alone'
            )
        return found
    if sweep is None:
        return []
    if isinstance(sweep, str):
        sweep = {'preset': sweep}
    sweep = _dict(file, 'measure.sweep', sweep)
    _only(file, 'measure.sweep', sweep, _SWEEP_KEYS)
    lists = {
        key: None if sweep.get(key) is None else list(sweep[key]) for key in ('corruptions', 'severities')
    }
    return select_cells(sweep.get('preset', 'cityscapes-c'), **lists)


def _primary(file: Path, primary: Any, variants: dict, measures: list[str]) -> Primary:
    primary = _dict(file, 'primary', primary)
    _only(file, 'primary', primary, _PRIMARY_KEYS)
    for key in _PRIMARY_KEYS:
        if key not in primary:
            raise StudyError(f'{file}: primary.{key} is missing; it needs {", ".join(_PRIMARY_KEYS)}')
        valid = measures if key == 'measure' else list(variants)
        if primary[key] not in valid:
            raise StudyError(
                f'{file}: primary.{key}={primary[key]!r}: must be one of {", ".join(valid)}{did_you_mean(str(primary[key]), valid)}'
            )
    if primary['variant'] == primary['against']:
        raise StudyError(f'{file}: primary: {primary["variant"]!r} against itself')
    return Primary(**primary)


def _dict(file: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise StudyError(f'{file}: {key}={value!r}: must be a dict')
    return dict(value)


def _only(file: Path, what: str, content: Mapping, known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            raise StudyError(
                f'{file}: {what} has no {key!r}{did_you_mean(str(key), known)}; it has {", ".join(known)}'
            )
