"""What a study says of its results, from results made by hand; and putting shards together."""

import copy
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mmseg_tapadl.evaluation.robustness_presets import Cell
from mmseg_tapadl.robustness.bootstrap import RESAMPLES, pack
from mmseg_tapadl.studies.merge import merge
from mmseg_tapadl.studies.run_folder import StudyMismatch
from mmseg_tapadl.studies.run_result import FORMAT, FORMAT_VERSION
from mmseg_tapadl.studies.study_file import read_study
from mmseg_tapadl.utils import InputError
from tests.studies.tiny_study import STUDY, read, write_study

CELLS = [Cell('fog', 3), Cell('fog', 5), Cell('frost', 3), Cell('shot_noise', 3)]
MEASURED = STUDY.replace(
    'primary = ', 'measure = dict(cells=dict(fog=[3, 5], frost=[3], shot_noise=[3]))\nprimary = '
).replace("measure='clean'", "measure='mPC'")
T_OF_2 = 4.303  # two-sided 95 % point of Student's t with 2 degrees of freedom, from a printed table


def result(variant: str, seed: int, cells: list[float], changes: dict) -> dict:
    """The result of a run with these figures: clean first, then the cells in order."""
    clean, *values = cells
    miou = dict(zip(CELLS, values, strict=True))
    corruptions = {
        name: sum(v for c, v in miou.items() if c.corruption == name)
        / sum(c.corruption == name for c in miou)
        for name in ('fog', 'frost', 'shot_noise')
    }
    noise = np.random.default_rng(0).normal(0, 1, RESAMPLES)
    figures = {'clean': clean, 'mPC': sum(values) / len(values), **corruptions}
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'variant': variant,
        'seed': seed,
        'status': 'finished',
        'clean': clean,
        'mPC': figures['mPC'],
        'corruptions': corruptions,
        'cells': {cell.name: value for cell, value in miou.items()},
        'acdc': None,
        'resampled': {name: pack(value + noise) for name, value in figures.items()},
        'pictures': {'count': 2, 'sha256': 'same'},
        'curve': {'iter': [1, 2], 'loss': [2.0, 1.0]},
        'seconds': {'train': 60.0, 'sweep': 30.0},
        'finished': '2026-01-01T00:00:00+00:00',
        'changes': changes,
        'identity': {
            'study': 'tiny_study',
            'variant': variant,
            'seed': seed,
            'config': {'model': changes},
            'measure': {'cells': [cell.name for cell in CELLS]},
            'amp': False,
            'weights': {},
            'data': {'train': {'pictures': 4, 'sha256': 'd' * 64}},
            'sources': 's' * 64,
            'versions': {'torch': '2'},
        },
    }


@pytest.fixture
def study(tmp_path):
    return read_study(write_study(tmp_path, MEASURED), seeds=[0, 1, 2])


def write(folder: Path, study, runs: dict[tuple[str, int], list[float]]) -> Path:
    """A folder of results."""
    folder.mkdir(parents=True)
    for (variant, seed), cells in runs.items():
        value = result(variant, seed, cells, study.variants[variant])
        (folder / f'{variant}_seed_{seed}.json').write_text(json.dumps(value))
    return folder


RUNS = {
    ('base', 0): [60.0, 30.0, 20.0, 10.0, 0.0],
    ('base', 1): [61.0, 31.0, 21.0, 11.0, 1.0],
    ('base', 2): [62.0, 32.0, 22.0, 12.0, 2.0],
    ('wide', 0): [60.0, 34.0, 20.0, 10.0, 0.0],
    ('wide', 1): [61.0, 31.0, 29.0, 11.0, 1.0],
    ('wide', 2): [62.0, 32.0, 22.0, 12.0, 10.0],
    ('calm', 1): [50.0, 40.0, 30.0, 20.0, 10.0],
}


def difference(summary: dict, variant: str, measure: str) -> dict:
    return next(d for d in summary['differences'] if (d['variant'], d['measure']) == (variant, measure))


def test_differences_worked_by_hand(study, tmp_path):
    summary = merge(study, [write(tmp_path / 'part', study, RUNS)], tmp_path / 'out')
    assert summary == read(tmp_path / 'out/study.json')
    # mPC is the mean of all cells: the differences of the seeds are 4/4, 8/4 and 8/4 = 1, 2, 2.
    told = difference(summary, 'wide', 'mPC')
    mean, sd = 5 / 3, math.sqrt(1 / 3)
    assert told['seeds'] == [0, 1, 2]
    assert told['mean'] == pytest.approx(mean) and told['sd'] == pytest.approx(sd)
    half = T_OF_2 * sd / math.sqrt(3)
    assert (told['low'], told['high']) == (
        pytest.approx(mean - half, abs=1e-3),
        pytest.approx(mean + half, abs=1e-3),
    )
    assert told['p_value'] == 0.25
    # A corruption is averaged over its severities, a group over its corruptions: one figure a run.
    assert difference(summary, 'wide', 'fog')['mean'] == pytest.approx((2 + 4 + 0) / 3)
    assert difference(summary, 'wide', 'weather')['mean'] == pytest.approx((1 + 2 + 0) / 3)
    assert difference(summary, 'wide', 'noise')['mean'] == pytest.approx(8 / 3)
    assert difference(summary, 'wide', 'clean')['mean'] == 0
    # All models moved alike with the pictures: the bootstrap says so, whatever the seeds do.
    pictures = told['pictures']
    assert pictures['low'] == pytest.approx(mean, abs=1e-4) and pictures['high'] == pytest.approx(
        mean, abs=1e-4
    )


def test_one_seed_has_no_interval_and_a_sentence(study, tmp_path):
    summary = merge(study, [write(tmp_path / 'part', study, RUNS)], tmp_path / 'out')
    told = difference(summary, 'calm', 'clean')
    assert (told['mean'], told['low'], told['high'], told['seeds']) == (-11.0, None, None, [1])
    assert 'no interval' in told['note']
    status = {(run['variant'], run['seed']): run['status'] for run in summary['runs']}
    assert len(status) == 9 and status[('calm', 0)] == 'not started' and status[('calm', 1)] == 'finished'


class Page(HTMLParser):
    """The tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.dots = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[key] for key in ('src', 'href') if key in values]
        self.dots += tag == 'circle'


def test_the_page_stands_alone_and_shows_every_seed(study, tmp_path):
    merge(study, [write(tmp_path / 'part', study, RUNS)], tmp_path / 'out')
    text = (tmp_path / 'out/study.html').read_text()
    page = Page(text)
    assert page.addresses == [] and '@import' not in text and 'url(' not in text
    # Each measure has a panel of values and one of differences; the primary difference one more.
    values, pairs = len(RUNS), 4
    measures = ['clean', 'mPC', 'weather', 'noise', 'fog', 'frost', 'shot_noise']
    assert page.dots == len(measures) * (values + pairs) + pairs
    assert 'wide minus base, mPC: +1.67 [+0.23, +3.10]' in text
    assert 'wide, seed 1: 18.00' in text and '<polyline' in text


def test_tables_to_paste(study, tmp_path):
    merge(study, [write(tmp_path / 'part', study, RUNS)], tmp_path / 'out')
    text = (tmp_path / 'out/study.md').read_text()
    assert '| base | 61.00 ± 1.00 | 16.00 ± 1.00 |' in text
    assert '| wide | +0.00 [+0.00, +0.00] | +1.67 [+0.23, +3.10] |' in text
    for table in re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE):
        assert len({line.count('|') for line in table.splitlines()}) == 1


def test_shards_are_put_together(study, tmp_path):
    halves = [dict(list(RUNS.items())[start::2]) for start in (0, 1)]
    parts = [write(tmp_path / f'part_{i}', study, half) for i, half in enumerate(halves)]
    whole = merge(study, [write(tmp_path / 'whole', study, RUNS)], tmp_path / 'out')
    assert merge(study, parts, tmp_path / 'merged') == whole
    # What is there is a part too, and may be given again.
    merge(study, parts[:1], tmp_path / 'slowly')
    assert merge(study, parts, tmp_path / 'slowly') == whole


def spoilt(change):
    def spoil(value: dict) -> dict:
        value = copy.deepcopy(value)
        change(value)
        return value

    return spoil


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda r: r['identity'].update(study='another'), 'another study'),
        (lambda r: r.update(variant='unknown'), 'another study'),
        (lambda r: r['identity'].update(sources='t' * 64), 'sources'),
        (lambda r: r['identity'].update(versions={'torch': '3'}), 'versions'),
        (lambda r: r['identity']['data']['train'].update(sha256='e' * 64), 'data'),
        (lambda r: r['identity'].update(config={'model': 1}), 'config'),
        (lambda r: r.update(changes={'model.decode_head.channels': 49}), 'changed other things'),
        (lambda r: r.update(seed=0, clean=1.0), 'the same run'),
        (lambda r: r.update(format='other'), 'not the result'),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(study, tmp_path, change, words):
    first = write(tmp_path / 'a', study, {key: RUNS[key] for key in (('base', 0), ('wide', 0))})
    second = write(tmp_path / 'b', study, {('wide', 1): RUNS[('wide', 1)]})
    file = second / 'wide_seed_1.json'
    file.write_text(json.dumps(spoilt(change)(read(file))))
    with pytest.raises(InputError, match=words):
        merge(study, [first, second], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_part_of_a_study_with_another_primary_difference_is_refused(study, tmp_path):
    merge(study, [write(tmp_path / 'part', study, RUNS)], tmp_path / 'out')
    other = read_study(write_study(tmp_path, MEASURED.replace("variant='wide'", "variant='calm'")))
    with pytest.raises(StudyMismatch, match='primary'):
        merge(other, [tmp_path / 'out'], tmp_path / 'more')
    with pytest.raises(StudyMismatch, match='holds another study'):
        merge(other, [tmp_path / 'part'], tmp_path / 'out')


def test_a_part_that_holds_nothing(study, tmp_path):
    (tmp_path / 'empty').mkdir()
    for part in ('empty', 'missing'):
        with pytest.raises(InputError, match=part):
            merge(study, [tmp_path / part], tmp_path / 'out')
