"""A comparison shows the same pictures as every model labelled them."""

import json
import re
import shutil

import pytest
import torch

from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.cell_details import DetailsFile
from mmseg_tapadl.robustness.compare import write_comparison
from mmseg_tapadl.robustness.results import ResultError
from mmseg_tapadl.utils import InputError
from tests.robustness.conftest import numbers_of


@pytest.fixture(scope='module')
def other(tiny, finished, tmp_path_factory):
    """The work dir of another model's sweep over the same cells."""
    from mmengine.config import Config

    from mmseg_tapadl.robustness.sweep import SweepOptions

    folder = tmp_path_factory.mktemp('other')
    weights = torch.load(tiny / 'model.pth')
    weights['state_dict']['decode_head.conv_seg.bias'][:7] += 2
    torch.save(weights, folder / 'other.pth')
    options = SweepOptions(
        checkpoint=str(folder / 'other.pth'), work_dir=folder / 'work', corruptions=['gaussian_noise', 'fog'],
        severities=[1, 3],
    )  # fmt: skip
    measure(Config.fromfile(tiny / 'model.py'), options, name='other')
    return folder / 'work'


def shares(folder, cell: str) -> dict[str, float]:
    return {
        f['name']: 1 - f['wrong'] / f['labelled']
        for f in DetailsFile(folder / 'details' / f'{cell}.zip').pictures
    }


def test_the_largest_differences_and_named_pictures_are_shown(finished, other, tmp_path):
    files = [str(folder / 'robustness.json') for folder in (finished, other)]
    text = write_comparison(files, tmp_path / 'page.html')[0].read_text()
    differences = []
    for cell in ('clean', 'gaussian_noise_3', 'fog_3'):
        ours, theirs = shares(finished, cell), shares(other, cell)
        differences += [(abs(ours[name] - theirs[name]), cell, name) for name in ours]
    largest = sorted((d for d in differences if d[0] > 0), key=lambda d: -d[0])[:12]
    shown = re.findall(r'overflow-wrap:anywhere">([^<]*): ([^<]*)</p>', text)
    words = {'clean': 'clean', 'gaussian_noise_3': 'gaussian noise, severity 3', 'fog_3': 'fog, severity 3'}
    assert shown == [(words[cell], name) for _, cell, name in largest]
    _, cell, name = largest[0]
    captions = f'{100 * shares(finished, cell)[name]:.1f}', f'{100 * shares(other, cell)[name]:.1f}'
    assert re.search(rf'<b>A</b> {captions[0]}.*<b>B</b> {captions[1]}', text)
    named = write_comparison(files, tmp_path / 'n.html', pictures=['ulm_000001_leftImg8bit.png'])[
        0
    ].read_text()
    titles = re.findall(r'overflow-wrap:anywhere">([^<]*): ([^<]*)</p>', named)
    assert [title[1].endswith('ulm_000001_leftImg8bit.png') for title in titles[:3]] == [True] * 3
    assert len(named) < 3_000_000 and named.count('src="data:') == named.count('src=')


def test_what_cannot_be_shown_is_said_by_name(finished, other, tmp_path):
    files = [str(folder / 'robustness.json') for folder in (finished, other)]
    with pytest.raises(ResultError, match=r"'nowhere\.png' was kept by every model"):
        write_comparison(files, tmp_path / 'p.html', pictures=['nowhere.png'])
    alone = tmp_path / 'alone'
    alone.mkdir()
    shutil.copy(other / 'robustness.json', alone)
    bare = [files[0], str(alone / 'robustness.json')]
    assert 'The same pictures' not in write_comparison(bare, tmp_path / 'p.html')[0].read_text()
    with pytest.raises(ResultError, match=r'alone/details/clean\.zip is missing'):
        write_comparison(bare, tmp_path / 'p.html', pictures=['ulm_000001_leftImg8bit.png'])
    shutil.copytree(finished / 'details', alone / 'details')
    with pytest.raises(ResultError, match=r'clean\.zip belongs to another sweep'):
        write_comparison(bare, tmp_path / 'p.html')
    (alone / 'details' / 'clean.zip').write_bytes(b'PK')
    with pytest.raises(ResultError, match=r'clean\.zip is damaged'):
        write_comparison(bare, tmp_path / 'p.html')
    assert json.loads((finished / 'robustness.json').read_text())['palette']


def test_named_pictures_are_kept_of_any_number_also_afterwards(
    finished, options, config, monkeypatch, capsys, tmp_path
):
    """As if of more than one picture a sample was kept, and one of the worst."""
    monkeypatch.setattr('mmseg_tapadl.robustness.sweep.sample_of', lambda count: frozenset({0}))
    monkeypatch.setattr('mmseg_tapadl.robustness.small_pictures.WORST', 1)
    measure(config, options())
    work = options().work_dir
    cells = ('clean', 'gaussian_noise_3', 'fog_3')
    kept = {name for cell in cells for name in shares(work, cell)}
    (missing, *_) = [name for name in shares(finished, 'clean') if name not in kept]
    file = missing.rsplit('/', 1)[-1]
    files = [str(work / 'robustness.json')] * 2
    with pytest.raises(ResultError, match=rf'again as before with --pictures {file}'):
        write_comparison(files, tmp_path / 'p.html', pictures=[file])
    capsys.readouterr()
    measure(config, options(pictures=[file]))
    # The clean cell and each corruption at its highest severity; no number changes.
    assert 'skipped 2 finished cells of 5, 3 left' in capsys.readouterr().out
    assert numbers_of(work) == numbers_of(finished)
    page = write_comparison(files, tmp_path / 'p.html', pictures=[file])[0].read_text()
    assert page.count(f'{file}</p>') == len(cells)
    with pytest.raises(InputError, match=r'--pictures nowhere\.png: no picture of the test data'):
        measure(config, options(work_dir=tmp_path / 'no', pictures=['nowhere.png']))
    assert not (tmp_path / 'no').exists()
