"""Parts of a study: every run in exactly one, and a job array that knows its part."""

from pathlib import Path

import pytest

from mmseg_tapadl.studies.estimate import duration
from mmseg_tapadl.studies.plan import Plan, run_folder
from mmseg_tapadl.studies.shards import shard_of
from mmseg_tapadl.studies.study_file import StudyError
from mmseg_tapadl.utils import InputError


def plan(variants: list[str], seeds: int) -> Plan:
    runs = [run_folder(Path('out'), name, seed, {}) for seed in range(seeds) for name in variants]
    return Plan(None, Path('out'), dict.fromkeys(variants), [], runs, [], '', None)  # type: ignore[arg-type]


@pytest.mark.parametrize('parts', [1, 2, 3, 7, 20])
def test_every_run_is_in_exactly_one_part(parts):
    whole = plan(['base', 'tap', 'adl'], 5)
    made = [run.name for part in range(1, parts + 1) for run in whole.chosen(None, (part, parts))]
    assert sorted(made) == sorted(run.name for run in whole.runs)
    sizes = [len(whole.chosen(None, (part, parts))) for part in range(1, parts + 1)]
    assert max(sizes) - min(sizes) <= 1


def test_a_seed_has_all_its_variants_before_the_next():
    assert [run.seed for run in plan(['base', 'tap'], 3).runs] == [0, 0, 1, 1, 2, 2]


def test_only_some_variants():
    chosen = plan(['base', 'tap', 'adl'], 2).chosen(['tap'], None)
    assert [run.name for run in chosen] == ['tap/seed_0', 'tap/seed_1']
    with pytest.raises(StudyError, match=r"--only tapp: no such variant \(did you mean 'tap'\?\)"):
        plan(['base', 'tap'], 1).chosen(['tapp'], None)


def test_a_part_by_numbers_and_by_the_job_array():
    assert shard_of(None) is None
    assert shard_of('2/3') == (2, 3)
    array = {'SLURM_ARRAY_TASK_ID': '5', 'SLURM_ARRAY_TASK_COUNT': '4', 'SLURM_ARRAY_TASK_MIN': '2'}
    assert shard_of('slurm', array) == (4, 4)
    for text, environment in (('0/3', {}), ('4/3', {}), ('slurm', {})):
        with pytest.raises(InputError, match='--shard'):
            shard_of(text, environment)


def test_times_are_told_closely_enough():
    assert [duration(s) for s in (40, 140, 431, 7500)] == ['40 s', '140 s', '7 min', '2 h 05 min']
    for seconds in range(1, 20_000, 7):
        words = duration(seconds).split()
        told = sum(
            float(n) * {'s': 1, 'min': 60, 'h': 3600}[unit]
            for n, unit in zip(words[::2], words[1::2], strict=True)
        )
        assert abs(told - seconds) <= 0.1 * seconds
