"""A ``data.yaml`` from end to end: every tool takes it, with spaces and other letters in all names."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.engine.testing import test as score
from mmseg_tapadl.inference.names_and_colours import name_classes
from mmseg_tapadl.inference.open_model import open_model
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.utils import InputError
from tests.agreement.own_set import write_config
from tests.datasets.data_yaml.painted import CLASSES, blocks, paint_written
from tests.engine.tiny_run import differences, run_tool_here


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """``own.py``, ``data.yaml``, and ``a run/iter_2.pth`` trained on it."""
    home = tmp_path_factory.mktemp('größe 1')
    write_config(home / 'own.py')
    paint_written(home)
    run = run_tool_here('train.py', 'own.py', '--data', 'data.yaml', '--work-dir', home / 'a run', cwd=home)
    (home / 'screen.txt').write_text(run.output)
    return home


def metrics_in(folder: Path) -> dict:
    (path,) = folder.rglob('metrics.json')
    return json.loads(path.read_text())


def weights(path: Path) -> dict:
    return torch.load(path, weights_only=False)['state_dict']


def test_the_copy_in_the_work_dir_is_a_config_of_its_own(home):
    dump = load_config(home / 'a run/own.py')
    assert (
        dump.train_dataloader.dataset.type == 'PictureMaskDataset' and dump.model.decode_head.num_classes == 2
    )
    run_tool_here('train.py', home / 'a run/own.py', '--work-dir', home / 'again', cwd=home.parent)
    assert differences(weights(home / 'a run/iter_2.pth'), weights(home / 'again/iter_2.pth')) == []


def test_what_changes_is_told(home):
    screen = (home / 'screen.txt').read_text()
    assert '--data data.yaml: 2 classes (road, sky) in place of the 5 of the config' in screen
    assert 'model.decode_head.num_classes is 2, not 5' in screen and 'classes    2: road, sky' in screen


def test_a_run_goes_on_after_a_comment_and_from_another_folder(home, tmp_path):
    shutil.copytree(home / 'a run', tmp_path / 'run')
    file = home / 'data.yaml'
    text = file.read_text()
    try:
        file.write_text('# a line more\n' + text)
        run = run_tool_here(
            'train.py', home / 'own.py', '--data', file, '--work-dir', 'run', '--resume',
            '--cfg-options', 'train_cfg.max_iters=4', cwd=tmp_path,
        )  # fmt: skip
        assert (tmp_path / 'run/iter_4.pth').is_file() and 'described_in' not in run.output
    finally:
        file.write_text(text)


def test_test_agrees_with_the_validation_and_python(home, tmp_path):
    checkpoint = home / 'a run/iter_2.pth'
    run_tool_here(
        'test.py',
        'own.py',
        checkpoint,
        '--data',
        'data.yaml',
        '--work-dir',
        tmp_path / 'test',
        '--out',
        tmp_path / 'ü',
        cwd=home,
    )
    found = metrics_in(tmp_path / 'test')
    scores = score(
        str(home / 'own.py'), str(checkpoint), data=home / 'data.yaml', work_dir=str(tmp_path / 'python')
    )
    maps = sorted((tmp_path / 'ü').rglob('*.png'))
    assert [path.stem for path in maps] == ['Straße val 街0', 'Straße val 街1']
    # The plain reference: sums over all pixels that count.
    labels = np.stack([np.array(CLASSES)[blocks(4, seed=number)] for number in range(2)])
    predicted = np.stack([np.array(Image.open(path)) for path in maps])
    counted = labels != 255
    ious = [
        ((predicted == k) & (labels == k)).sum() / (((predicted == k) | (labels == k)) & counted).sum()
        for k in (0, 1)
    ]
    for result in (found.get('metrics', found), scores):
        assert abs(result['mIoU'] - 100 * np.mean(ious)) < 1e-6


def test_sweep_predict_and_export(home, tmp_path):
    checkpoint = home / 'a run/iter_2.pth'
    run_tool_here(
        'export.py', 'own.py', checkpoint, '--data', 'data.yaml', '--out', tmp_path / 'ö.onnx', cwd=home
    )
    choice = ('--corruptions', 'contrast', '--severities', 1)
    results = []
    for number, model in enumerate([('own.py', checkpoint), ('--model', f'onnx:{tmp_path}/ö.onnx')]):
        work = tmp_path / f'sweep {number}'
        run_tool_here(
            'test_robustness.py', *model, '--data', 'data.yaml', '--work-dir', work, *choice, cwd=home
        )
        results.append(json.loads((work / 'robustness.json').read_text()))
    assert results[0]['clean']['mIoU'] == pytest.approx(results[1]['clean']['mIoU'], abs=0.1)
    assert results[0]['palette'] == {'road': [128, 64, 128], 'sky': [128, 128, 128]}
    run_tool_here(
        'predict.py',
        'own.py',
        checkpoint,
        home / 'street pictures/val/images',
        '--data',
        'data.yaml',
        '--out',
        tmp_path / 'p ö',
        cwd=home,
    )
    labels = sorted((tmp_path / 'p ö/labels').iterdir())
    assert [path.stem for path in labels] == ['Straße val 街0', 'Straße val 街1']
    assert set(np.unique(np.array(Image.open(labels[0])))) <= {0, 1}


def test_attention(home, tmp_path):
    watched = write_config(
        tmp_path / 'watched.py', changes="model = dict(backbone=dict(type='TAPMixVisionTransformer'))"
    )
    run_tool_here(
        'analysis_tools/attention.py',
        watched,
        home / 'a run/iter_2.pth',
        '--data',
        'data.yaml',
        '--out',
        tmp_path / 'attention',
        cwd=home,
    )
    (model,) = json.loads((tmp_path / 'attention/attention.json').read_text())['models']
    assert [Path(picture['path']).stem for picture in model['pictures']] == [
        'Straße val 街0',
        'Straße val 街1',
    ]


def test_any_model_from_python(home, tmp_path):
    """A function that knows the answer scores 100."""

    def predict(image):
        levels = 255 * np.arange(1, 5) / 5
        return np.array([0, 0, 1, 0])[np.abs(image[..., :1].astype(float) - levels).argmin(-1)]

    results = measure(
        predict, home / 'data.yaml', corruptions=['contrast'], severities=[1], work_dir=tmp_path
    )
    assert results['clean']['mIoU'] > 99


def test_a_model_without_names_takes_those_of_the_data(home, tmp_path):
    (tmp_path / 'mine.py').write_text('def predict(image):\n    return image[..., 0] // 200\n')
    model = f'python:{tmp_path}/mine.py:predict'
    picture = home / 'street pictures/val/images/Straße val 街0.png'
    run_tool_here(
        'predict.py', '--model', model, picture, '--data', 'data.yaml', '--out', tmp_path / 'p', cwd=home
    )
    assert (tmp_path / 'p/overlays/Straße val 街0.png').is_file()
    predictor = open_model(model)
    name_classes(predictor, home / 'data.yaml')
    assert predictor.classes == ('road', 'sky') and predictor.palette == [[128, 64, 128], [128, 128, 128]]
    predictor.classes = ('a', 'b', 'c')
    with pytest.raises(InputError, match=r'3 classes apart, but .*data\.yaml has 2'):
        name_classes(predictor, home / 'data.yaml')


@pytest.mark.parametrize('with_config', [False, True])
def test_check_dataset(with_config, home, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    config = ['own.py'] if with_config else []
    run = run_tool_here('check_dataset.py', *config, '--data', 'data.yaml', cwd=home)
    assert 'train: PictureMaskDataset, 3 pictures, 3 labels, 2 of 2 classes: no faults' in run.output
    assert 'val: PictureMaskDataset, 2 pictures' in run.output and 'test:' not in run.output
    wrong = run_tool_here(
        'check_dataset.py', *config, '--data', 'own.py', '--split', 'test', cwd=home, ok=False
    )
    assert wrong.status in (1, 2)


FAULTS = {
    'a colour in no list': (lambda text: text.replace(', [60, 40, 222]', ''), '[60, 40, 222] in '),
    'a program': (
        lambda text: text + 'nc: !!python/object/apply:os.mkdir [here]\n',
        ':9: !!python/object/apply:os.mkdir',
    ),
    'an unknown key': (lambda text: text + 'test_masks: a\n', ":9: unknown key 'test_masks'"),
    'no val': (lambda text: text.replace('val/images', 'valid/images'), ':3: val: '),
}


@pytest.mark.parametrize('name', FAULTS)
def test_faults_end_a_training_before_it_starts(name, home, tmp_path):
    change, told = FAULTS[name]
    (tmp_path / 'street pictures').symlink_to(home / 'street pictures')
    file = tmp_path / 'bad ö.yaml'
    file.write_text(change((home / 'data.yaml').read_text()))
    run = run_tool_here(
        'train.py', home / 'own.py', '--data', file, '--work-dir', tmp_path / 'run', cwd=tmp_path, ok=False
    )
    assert run.status == 2 and told in run.output and 'Traceback' not in run.output, run.output
    assert not list(tmp_path.rglob('*.pth')) and not (tmp_path / 'here').exists()


def test_init_data(home, tmp_path):
    shutil.copytree(home / 'street pictures', tmp_path / 'my pictures')
    run = run_tool_here('init_data.py', 'my pictures', cwd=tmp_path)
    assert 'train: 3 pictures, 3 with a mask' in run.output
    sheet = np.array(Image.open(tmp_path / 'my pictures/data.jpg'))
    assert sheet.shape[1] == 2 * 480 + 6 and sheet.shape[0] > 5 * 360
    checked = run_tool_here('check_dataset.py', '--data', 'my pictures/data.yaml', cwd=tmp_path)
    assert '3 of 3 classes: no faults' in checked.output
    again = run_tool_here('init_data.py', 'my pictures', cwd=tmp_path, ok=False)
    assert again.status == 2 and 'is there already' in again.output
