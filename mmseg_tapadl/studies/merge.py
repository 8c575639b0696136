"""Puts the parts of a study together that were made in several places."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg_tapadl.studies.plan import PLAN_FILE, RESULTS, RUNS, check_plan, describe, read_plan, run_folder
from mmseg_tapadl.studies.run_folder import StudyMismatch, check_same, read_object
from mmseg_tapadl.studies.run_result import FORMAT
from mmseg_tapadl.studies.study_file import Study
from mmseg_tapadl.studies.write_up import write_up
from mmseg_tapadl.utils import InputError, write_json
from mmseg_tapadl.utils.config_values import changes_between, plain_values

# What all runs of a study share; of what a variant changes each variant speaks for itself.
_SHARED = ('study', 'measure', 'amp', 'sources', 'versions')


def merge(study: Study, parts: Sequence[Path], work_dir: Path) -> dict[str, Any]:
    """Copies the results of finished runs into one work dir and writes them up; all is checked first, nothing is run.

    Today's sources, versions and data do not matter: the parts are compared with one another.

    Args:
        study: The study that they are parts of.
        parts: Work dirs, or folders of results of this study.
        work_dir: Where they are put together; what lies there is a part too.

    Returns:
        The content of ``study.json``.

    Raises:
        StudyMismatch: Parts of different studies, of one study made in different ways, or two different results of one run.
        InputError: A part that is missing, damaged or holds no result.
    """
    own = [work_dir] if (work_dir / PLAN_FILE).exists() else []
    check_plan(work_dir, describe(study))
    found: dict[tuple[str, int], tuple[Path, dict]] = {}
    failures: dict[tuple[str, int], dict] = {}
    for part in [*own, *parts]:
        for file, result in _results(part, study):
            key = (result['variant'], result['seed'])
            if key in found and _figures(found[key][1]) != _figures(result):
                raise StudyMismatch(
                    f'{file} and {found[key][0]} are the same run ({key[0]}, seed {key[1]}) with different figures; take one out'
                )
            _check_alike(file, result, found)
            found.setdefault(key, (file, result))
        failures |= _failures(part)
    runs = [run_folder(work_dir, *key, {'study': study.name}) for key in _order(study, found)]
    for run in runs:
        key = (run.variant, run.seed)
        if key in found and not run.result_file.exists():
            run.result_file.parent.mkdir(parents=True, exist_ok=True)
            write_json(run.result_file, found[key][1])
        elif key in failures and key not in found and not run.path.exists():
            run.path.mkdir(parents=True)
            run.fail(**failures[key])
    if not own:
        write_json(work_dir / PLAN_FILE, describe(study))
    return write_up(study, work_dir, runs)


def _results(part: Path, study: Study) -> list[tuple[Path, dict]]:
    if not part.is_dir():
        raise InputError(f'--merge {part}: no such folder')
    described = read_plan(part)
    if described is not None:
        for change in changes_between(plain_values(describe(study)), plain_values(described)):
            raise StudyMismatch(
                f'{part} is a part of another study: {str(change).replace("when saved", "in the study").replace(" now", " there")}'
            )
    folder = part / RESULTS if described is not None else part
    found = []
    for file in sorted(folder.glob('*.json')):
        result = read_object(file)
        if result is None or result.get('format') != FORMAT:
            raise InputError(f'{file}: is not the result of a run of a study')
        name = (result.get('identity') or {}).get('study')
        if name != study.name or result['variant'] not in study.variants:
            raise StudyMismatch(
                f'{file} is of another study ({name}, variant {result["variant"]}), not of {study.name}'
            )
        if plain_values(result['changes']) != plain_values(study.variants[result['variant']]):
            raise StudyMismatch(
                f'{file}: the variant {result["variant"]} changed other things than {study.file} says'
            )
        found.append((file, result))
    if not found:
        raise InputError(f'--merge {part}: holds no finished run')
    return found


def _check_alike(file: Path, result: dict, found: dict[tuple[str, int], tuple[Path, dict]]) -> None:
    """A part must have been made as the others were: runs of one variant in every way but the seed."""
    for other_file, other in found.values():
        keys = set(_SHARED)
        if other['variant'] == result['variant']:
            keys |= set(result['identity']) - {'seed'}
        ours, theirs = ({key: value['identity'].get(key) for key in keys} for value in (result, other))
        check_same(f'{file} (beside {other_file})', theirs, ours)


def _figures(result: dict) -> dict[str, Any]:
    return {key: result.get(key) for key in ('clean', 'cells', 'acdc')}


def _failures(part: Path) -> dict[tuple[str, int], dict]:
    found = {}
    for file in part.glob(f'{RUNS}/*/seed_*/failed.json'):
        failure = read_object(file)
        if failure is not None:
            found[(file.parents[1].name, int(file.parent.name.removeprefix('seed_')))] = failure
    return found


def _order(study: Study, found: dict[tuple[str, int], Any]) -> list[tuple[str, int]]:
    seeds = list(dict.fromkeys([*study.seeds, *sorted(seed for _, seed in found)]))
    return [(variant, seed) for seed in seeds for variant in study.variants]
