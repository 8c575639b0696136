"""The data tools as a user runs them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.faults import CATALOGUE, make_root, pair_paths

SMALL = [
    '--train',
    2,
    '--val',
    1,
    '--adverse-train',
    0,
    '--adverse-val',
    1,
    '--adverse-test',
    0,
    '--size',
    '96x48',
]


@pytest.fixture
def home(tmp_path) -> dict[str, str]:
    """A cache folder of the test's own."""
    return {'XDG_CACHE_HOME': str(tmp_path / 'cache')}


def test_demo_city_is_painted_then_protected(run_tool, tmp_path):
    tool = 'dataset_converters/demo_city.py'
    done = run_tool(tool, tmp_path / 'city', *SMALL)
    assert '11 pictures (train 2, val 1, fog/val 1' in done.stdout
    assert len(list((tmp_path / 'city').rglob('*.png'))) == 18
    refused = run_tool(tool, tmp_path / 'city', *SMALL[2:], ok=False)
    assert refused.returncode == 2 and '--overwrite' in refused.stderr and 'Traceback' not in refused.stderr


def test_camvid_is_converted_or_refused(run_tool, tmp_path):
    tool, source = 'dataset_converters/camvid.py', tmp_path / 'CamVid'
    for folder in ('val', 'valannot'):
        (source / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(source / 'val/0016E5_07959.png')
    label = source / 'valannot/0016E5_07959.png'
    Image.fromarray(np.full((12, 20), 3, np.uint8)).save(label)
    done = run_tool(tool, tmp_path, tmp_path / 'out')
    assert done.stdout.strip().endswith('1 pictures with labels (val 1)')
    Image.fromarray(np.full((12, 20), 99, np.uint8)).save(label)
    refused = run_tool(tool, source, tmp_path / 'other', ok=False)
    assert refused.returncode == 2 and str(label) in refused.stderr and '[99]' in refused.stderr
    assert 'Traceback' not in refused.stderr and not (tmp_path / 'other').exists()


def write_config(path: Path, root: Path) -> Path:
    """A config of its own, as a user might write one."""
    loaders = '\n'.join(
        f'{split}_dataloader = dict(dataset=dict(type="CityscapesDataset", data_root={str(root)!r}, '
        f'data_prefix=dict(img_path="leftImg8bit/{split}", seg_map_path="gtFine/{split}"), '
        'pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]))'
        for split in ('train', 'val')
    )
    path.write_text(f'{loaders}\n')
    return path


def test_faults_are_shown_and_written(run_tool, tmp_path, home):
    root = tmp_path / 'data'
    make_root(root, count=len(CATALOGUE) + 1)
    expected = {str(fault.plant(*pair_paths(root, 'train', i))) for i, fault in enumerate(CATALOGUE)}
    config = write_config(tmp_path / 'config.py', root)
    report = tmp_path / 'out' / 'faults.json'
    done = run_tool('check_dataset.py', config, '--json', report, '--show', 5, ok=False, env=home)
    assert done.returncode == 1
    content = json.loads(report.read_text())
    assert {fault['path'] for fault in content['train']['faults']} == expected
    assert content['train']['faults_by_kind']['label_ids'] == 5 and content['val']['ok']
    assert f'{len(CATALOGUE)} faults' in done.stdout and f'and {len(CATALOGUE) - 5} more' in done.stdout
    assert 'val: CityscapesDataset' in done.stdout and 'no faults' in done.stdout
    assert 'check train' in done.stderr  # the bar
    good = run_tool('check_dataset.py', config, '--split', 'val', env=home)
    assert 'check val' not in good.stderr and '19 of 19 classes: no faults' in good.stdout


def test_limits_and_names_that_no_screen_takes_are_told(run_tool, tmp_path, home):
    """OpenCV takes its limit from the environment; the file's name is no UTF-8, and the screen takes nothing else."""
    root = tmp_path / 'data'
    make_root(root, count=2)
    image, label = pair_paths(root, 'train', 0)
    label.unlink()
    odd = os.fsencode(image.parent) + b'/stra\xdfe_leftImg8bit.png'
    os.rename(image, odd)
    config = write_config(tmp_path / 'config.py', root)
    screen = {'PYTHONIOENCODING': 'utf-8:strict', 'OPENCV_IO_MAX_IMAGE_PIXELS': '100'}
    done = run_tool('check_dataset.py', config, '--split', 'train', ok=False, env={**home, **screen})
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert r'stra\xdfe_gtFine_labelTrainIds.png: does not exist' in done.stdout
    assert done.stdout.count('image over a limit') == 2 and 'OPENCV_IO_MAX_IMAGE_PIXELS' in done.stdout


def test_wrong_input_is_one_line_and_a_fault_in_the_program_is_not(run_tool, tmp_path, home):
    config = tmp_path / 'config.py'
    config.write_text('train_dataloader = dict(dataset=dict(type="NoSuchSet"))\n')
    refused = run_tool('check_dataset.py', config, ok=False, env=home)
    assert refused.returncode == 2 and 'NoSuchSet' in refused.stderr and 'Traceback' not in refused.stderr
    (tmp_path / 'broken_set.py').write_text(
        'from mmseg.datasets import BaseSegDataset\n'
        'from mmseg.registry import DATASETS\n\n\n'
        '@DATASETS.register_module()\n'
        'class BrokenSet(BaseSegDataset):\n'
        '    def load_data_list(self):\n'
        '        return self.no_such_thing\n'
    )
    config.write_text(
        'custom_imports = dict(imports=["broken_set"])\n'
        'train_dataloader = dict(dataset=dict(type="BrokenSet", data_root="."))\n'
    )
    path = f'{tmp_path}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'
    broken = run_tool('check_dataset.py', config, ok=False, env={**home, 'PYTHONPATH': path})
    assert broken.returncode == 1 and 'Traceback' in broken.stderr and 'no_such_thing' in broken.stderr
