"""The main job from the command line: paint, train, go on, test in all weathers, predict."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

SMALL = (
    'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
    'model.data_preprocessor.size=(64,64)',
    'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
    'train_dataloader.num_workers=0',
    'val_dataloader.num_workers=0',
    'test_dataloader.num_workers=0',
)


def options(root, *more):
    roots = [f'{name}_dataloader.dataset.data_root={root}' for name in ('train', 'val', 'test')]
    return ['--cfg-options', *SMALL, *roots, *more]


@pytest.fixture(scope='module')
def city(tmp_path_factory, run_tool):
    """A demo city of few small pictures."""
    root = tmp_path_factory.mktemp('city')
    run_tool('dataset_converters/demo_city.py', root, '--train', 6, '--val', 5, '--size', '128x64')
    return root


@pytest.fixture(scope='module')
def trained(city, tmp_path_factory, run_tool):
    """A work dir after four iterations of the demo config."""
    work = tmp_path_factory.mktemp('work')
    schedule = ('train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'param_scheduler.1.end=40')
    done = run_tool('train.py', 'configs/fan_tapadl_demo.py', '--work-dir', work, *options(city, *schedule))
    return work, done.stdout + done.stderr


def test_training_tells_what_it_does(trained):
    work, text = trained
    assert (work / 'iter_4.pth').is_file()
    assert 'random (the paper starts from ImageNet weights' in text
    assert re.search(r'Iter\(train\) \[4/4\].*eta.*loss_adl', text)
    # The unrounded score of the validation is on disk.
    assert re.search(r'mIoU', text)


def test_a_checkpoint_is_plain_data(trained):
    checkpoint = torch.load(trained[0] / 'iter_4.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == 4
    assert 'backbone.blocks.0.attn.kv.weight' in checkpoint['state_dict']


def test_resume_goes_on_where_it_stopped(trained, city, run_tool):
    work, _ = trained
    schedule = ('train_cfg.max_iters=6', 'train_cfg.val_interval=6', 'param_scheduler.1.end=40')
    done = run_tool(
        'train.py', 'configs/fan_tapadl_demo.py', '--work-dir', work, '--resume', *options(city, *schedule)
    )
    text = done.stdout + done.stderr
    assert 'Iter(train) [5/6]' in text
    assert 'Iter(train) [4/6]' not in text
    assert (work / 'iter_6.pth').is_file()


def test_testing_in_clear_and_in_bad_weather(trained, city, run_tool, tmp_path):
    checkpoint = trained[0] / 'iter_4.pth'
    run_tool(
        'test.py', 'configs/fan_tapadl_demo.py', checkpoint, '--work-dir', tmp_path / 'clear',
        '--out', tmp_path / 'maps', '--show-dir', tmp_path / 'overlays', *options(city),
    )  # fmt: skip
    clear = json.loads((tmp_path / 'clear' / 'metrics.json').read_text())['metrics']
    assert 0 < clear['mIoU'] < 100
    assert len(list((tmp_path / 'maps').rglob('*.png'))) == 5
    assert len(list((tmp_path / 'overlays').rglob('*.png'))) >= 1

    done = run_tool(
        'test.py',
        'configs/fan_tapadl_demo_acdc.py',
        checkpoint,
        '--work-dir',
        tmp_path / 'weather',
        *options(city),
    )
    weather = json.loads((tmp_path / 'weather' / 'metrics.json').read_text())['metrics']
    assert {f'mIoU_{name}' for name in ('fog', 'night', 'rain', 'snow')} < set(weather)
    four = [weather[f'mIoU_{name}'] for name in ('fog', 'night', 'rain', 'snow')]
    assert weather['mIoU_mean'] == pytest.approx(np.mean(four))
    assert 'night' in done.stdout + done.stderr


def test_predicting_a_folder(trained, city, run_tool, tmp_path):
    source = city / 'leftImg8bit' / 'val'
    run_tool(
        'predict.py',
        'configs/fan_tapadl_demo.py',
        trained[0] / 'iter_4.pth',
        source,
        '--out',
        tmp_path,
        '--device',
        'cpu',
    )
    pictures = sorted(path.relative_to(source) for path in source.rglob('*.png'))
    assert len(pictures) == 5
    for name in pictures:
        label = Image.open(tmp_path / 'labels' / name)
        assert (label.mode, label.size) == ('L', (128, 64))
        assert np.asarray(label).max() < 19
        overlay = Image.open(tmp_path / 'overlays' / name)
        assert overlay.mode == 'RGB'
        assert overlay.size[0] == 128
        assert overlay.size[1] > 64  # the legend


@pytest.mark.parametrize(
    ('config', 'checkpoint', 'source', 'message'),
    [
        ('fan_demo', 'iter_4.pth', 'leftImg8bit', 'iter_4.pth.*unexpected.*dilation_predictor'),
        ('fan_tapadl_demo', 'iter_4.pth', 'nowhere', 'nowhere.*no such picture'),
        ('fan_tapadl_demo', 'iter_4.pth', 'readme', 'readme.*not a readable picture'),
    ],
)
def test_predicting_says_what_is_wrong(
    trained, city, run_tool, tmp_path, config, checkpoint, source, message
):
    (city / 'readme').write_text('no picture')
    done = run_tool(
        'predict.py',
        f'configs/{config}.py',
        trained[0] / checkpoint,
        city / source,
        '--out',
        tmp_path,
        ok=False,
    )
    assert done.returncode == 2
    assert re.search(message, done.stderr, flags=re.DOTALL)
    assert 'Traceback' not in done.stderr
