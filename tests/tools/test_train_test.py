"""The command lines of training and testing, as a user types them."""

import json
import re
from datetime import datetime

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_tapadl.engine import write_checkpoint
from tests.checkpoints.hostile_files import reduce_in_metadata
from tests.engine.tiny_run import run_tool_here, train_here, write_config, write_pictures


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tools')
    write_pictures(folder / 'data')
    write_config(folder / 'tiny.py', folder / 'data', iters=4)
    return folder


@pytest.fixture(scope='module')
def trained(tiny, run_tool):
    """The one run in a fresh interpreter, with the data check, --amp and --seed; returns its work dir and output."""
    done = run_tool('train.py', tiny / 'tiny.py', '--amp', '--seed', 7, cwd=tiny)
    return tiny / 'work_dirs/tiny', done.stdout + done.stderr


def test_training_tells_its_story_on_one_screen(trained):
    work_dir, output = trained
    before_first_iteration = output.split('Iter(train)')[0]
    assert before_first_iteration.count('\n') < 45, before_first_iteration
    for words in (
        '12 pictures',
        '5 pictures',
        '19: road',
        'random (the paper starts from ImageNet',
        'CPU',
        'seed       7',
    ):
        assert words in before_first_iteration, words
    assert 'SyncBN became BN' in output and 'CpuAmpOptimWrapper' in output and 'eta:' in output
    log = next(work_dir.glob('*/*.log')).read_text()
    assert 'System environment' in log and 'train_pipeline' in log
    assert torch.load(work_dir / 'iter_4.pth', weights_only=True)['meta']['seed'] == 7


def test_testing_prints_writes_and_draws(trained, tiny):
    work_dir, _ = trained
    run = run_tool_here(
        'test.py', tiny / 'tiny.py', work_dir / 'iter_4.pth', '--work-dir', tiny / 'tested', '--out', tiny / 'labels',
        '--show-dir', tiny / 'overlays', cwd=tiny,
    )  # fmt: skip
    report = json.loads((tiny / 'tested/metrics.json').read_text())
    assert f'mIoU {report["metrics"]["mIoU"]:.2f}' in run.output
    # An independent twin of the score, from the written label maps and the labels themselves.
    hits, unions = np.zeros(19), np.zeros(19)
    for path in sorted((tiny / 'data/gtFine/val').rglob('*labelTrainIds.png')):
        name = path.name.replace('gtFine_labelTrainIds', 'leftImg8bit')
        true, predicted = (np.asarray(Image.open(p)) for p in (path, tiny / 'labels' / name))
        assert Image.open(tiny / 'overlays' / name).size == (128, 64)
        for label in range(19):
            hits[label] += ((true == label) & (predicted == label)).sum()
            unions[label] += ((true == label) | (predicted == label)).sum()
    ious = 100 * hits[unions > 0] / unions[unions > 0]
    assert report['metrics']['mIoU'] == pytest.approx(ious.mean(), rel=1e-12)
    assert report['per_class']['road']['IoU'] == pytest.approx(100 * hits[0] / unions[0], rel=1e-12)
    assert report['pictures'] == 5
    tta = run_tool_here(
        'test.py', tiny / 'tiny.py', work_dir / 'iter_4.pth', '--work-dir', tiny / 'tta', '--tta', cwd=tiny
    )
    averaged = json.loads((tiny / 'tta/metrics.json').read_text())
    assert 'mIoU' in tta.output and averaged['metrics'] != report['metrics']


def test_there_is_no_number_from_nothing(trained, tiny, tmp_path):
    work_dir, _ = trained
    whole = torch.load(work_dir / 'iter_4.pth', weights_only=True)
    state = whole['state_dict']
    part = {key: value for key, value in state.items() if 'conv_seg' not in key}
    write_checkpoint({'state_dict': part}, tmp_path / 'part.pth')
    write_checkpoint({'state_dict': {**state, 'extra.weight': torch.zeros(1)}}, tmp_path / 'more.pth')
    other = {**whole['meta'], 'dataset_meta': {'classes': ['sky', 'road']}}
    write_checkpoint({'state_dict': state, 'meta': other}, tmp_path / 'classes.pth')
    program = reduce_in_metadata(tmp_path, tmp_path / 'witness')
    for file, words in (
        (tmp_path / 'part.pth', '2 missing: decode_head.conv_seg.weight, decode_head.conv_seg.bias'),
        (tmp_path / 'more.pth', '1 unexpected: extra.weight'),
        (tmp_path / 'classes.pth', 'trained on other classes (2: sky, road'),
        (tmp_path / 'gone.pth', 'no such file'),
        (program, 'holds a program (posix.system)'),
    ):
        arguments = [tiny / 'tiny.py', file, '--work-dir', tmp_path / 'w', '--skip-check']
        run = run_tool_here('test.py', *arguments, cwd=tmp_path, ok=False)
        assert run.status == 2 and words in run.output, run.output[-2000:]
        assert str(file) in run.output and 'mIoU' not in run.output.split(str(file))[-1]
    for flag in ('--resume', '--pretrained'):
        run = train_here(tiny / 'tiny.py', tmp_path / 'p', flag, program, ok=False)
        assert run.status == 2 and 'holds a program' in run.output
    assert not (tmp_path / 'witness').exists()


def test_labels_out_of_range_are_no_score(trained, tiny, tmp_path):
    work_dir, _ = trained
    data = write_pictures(tmp_path / 'data', train=1, val=2)
    path = data / 'gtFine/val/town/town_000001_000000_gtFine_labelTrainIds.png'
    label = np.asarray(Image.open(path)).copy()
    label[0, 0] = 33
    Image.fromarray(label).save(path)
    config = write_config(tmp_path / 'tiny.py', data)
    run = run_tool_here('test.py', config, work_dir / 'iter_4.pth', '--skip-check', cwd=tmp_path, ok=False)
    assert run.status == 2 and str(path) in run.output and '[33]' in run.output
    assert not (tmp_path / 'work_dirs/tiny/metrics.json').exists()


def test_pretrained_weights_are_counted_and_a_stranger_refused(trained, tiny):
    work_dir, _ = trained
    short = ['--cfg-options', 'train_cfg.max_iters=1', 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None',
             'default_hooks.checkpoint.save_best=None', 'optim_wrapper.optimizer.lr=0.0', 'param_scheduler=None']  # fmt: skip
    # As a trainer may save it: under another key, one stage compiled, the encoder alone in DDP.
    saved = torch.load(work_dir / 'iter_4.pth', weights_only=True)['state_dict']
    wrapped = {
        key.replace('backbone.layers.0.1.', 'backbone.layers.0.1._orig_mod.').replace(
            'backbone.', 'backbone.module.'
        ): value
        for key, value in saved.items()
    }
    torch.save({'model': wrapped}, tiny / 'wrapped.pth')
    run = train_here(tiny / 'tiny.py', tiny / 'from', '--pretrained', tiny / 'wrapped.pth', *short)
    assert f'encoder from {tiny}/wrapped.pth, the rest random' in run.output
    count = sum(
        key.startswith('backbone.')
        for key in torch.load(work_dir / 'iter_4.pth', weights_only=True)['state_dict']
    )
    assert f'{count} of {count} tensors' in run.output
    start, result = (
        torch.load(path, weights_only=True)['state_dict']
        for path in (work_dir / 'iter_4.pth', tiny / 'from/iter_1.pth')
    )
    same = {
        key: torch.equal(value, result[key])
        for key, value in start.items()
        if key.endswith(('weight', 'bias'))
    }
    assert all(equal for key, equal in same.items() if key.startswith('backbone.'))
    assert not all(equal for key, equal in same.items() if key.startswith('decode_head.'))
    write_checkpoint({'state_dict': {'stranger.weight': torch.zeros(1)}}, tiny / 'stranger.pth')
    refused = train_here(tiny / 'tiny.py', tiny / 'from2', '--pretrained', tiny / 'stranger.pth', ok=False)
    assert refused.status == 2 and 'none of its tensors (stranger.weight' in refused.output


def test_faults_in_the_data_stop_before_the_first_iteration(tmp_path):
    data = write_pictures(tmp_path / 'data', train=3, val=2)
    folder = data / 'gtFine/train/town'
    ids = np.asarray(Image.open(folder / 'town_000001_000000_gtFine_labelTrainIds.png')).copy()
    ids[:] = 33
    Image.fromarray(ids).save(folder / 'town_000001_000000_gtFine_labelTrainIds.png')
    (folder / 'town_000002_000000_gtFine_labelTrainIds.png').unlink()
    config = write_config(tmp_path / 'tiny.py', data)
    run = run_tool_here('train.py', config, cwd=tmp_path, ok=False)
    assert run.status == 2 and 'Iter(train)' not in run.output, run.output[-2000:]
    assert 'town_000001_000000' in run.output and 'town_000002_000000' in run.output
    assert 'Traceback' not in run.output
    # What slips through because the check was left out is raised with both paths.
    (folder / 'town_000002_000000_gtFine_labelTrainIds.png').write_bytes(b'')
    left_out = run_tool_here('train.py', config, '--skip-check', '--overwrite', cwd=tmp_path, ok=False)
    assert left_out.status == 2, left_out.output[-2000:]
    named = [number for number in (1, 2) if f'town_{number:06d}_000000_leftImg8bit.png' in left_out.output]
    assert len(named) == 1 and f'town_{named[0]:06d}_000000_gtFine_labelTrainIds.png' in left_out.output
    if named == [1]:
        assert 'the label holds [33]' in left_out.output


def test_the_expected_end_is_said_once_and_is_about_when_the_run_ends(tiny, tmp_path):
    options = ('--cfg-options', 'train_cfg.max_iters=20', 'default_hooks.start_summary.estimate_after=5')
    run = train_here(tiny / 'tiny.py', tmp_path / 'run', *options)
    assert 'estimated after iteration 6' in run.output
    assert run.output.count('expected end: ') == 1
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    said = re.search(
        r'(\S+ \S+) - mmengine - INFO - expected end: \w+ (.*), in 0:(\d+):(\d+), .* \((\S+) s an it', log
    )
    at, end = datetime.strptime(said[1], '%Y/%m/%d %H:%M:%S'), datetime.strptime(said[2], '%Y-%m-%d %H:%M')
    seconds = 60 * int(said[3]) + int(said[4])
    assert seconds == pytest.approx(14 * float(said[5]), abs=0.6)
    assert -60 <= (end - at).total_seconds() - seconds <= 2


def test_a_run_too_short_to_estimate_says_nothing(trained):
    assert 'expected end' not in trained[1] and 'estimated' not in trained[1]
