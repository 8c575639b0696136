"""A run that is told to stop saves and leaves with its documented status; one that goes wrong says why."""

import signal
import time
from pathlib import Path

import pytest
import torch

from tests.engine.tiny_run import ToolRun, differences, state_of, train_here, write_config, write_pictures

LONG = ['--cfg-options', 'train_cfg.max_iters=5000', 'default_hooks.checkpoint.interval=100000']


def scalars(work_dir: Path) -> int:
    return sum(
        text.count('"loss"')
        for file in work_dir.glob('*/vis_data/scalars.json')
        for text in [file.read_text()]
    )


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_resuming_is_exact(number, tiny, undisturbed):
    work_dir = tiny / f'signal_{number}'
    options = ['--cfg-options', 'default_hooks.checkpoint.interval=1000']
    run = ToolRun('train.py', tiny / 'tiny.py', '--work-dir', work_dir, '--skip-check', *options, cwd=tiny)
    status = run.send_when(number, lambda: scalars(work_dir) >= 2)
    assert status == 128 + number, run.output[-2000:]
    saved = list(work_dir.glob('iter_*.pth'))
    assert len(saved) == 1 and saved[0].name in run.output and 'go on with --resume' in run.output
    train_here(tiny / 'tiny.py', work_dir, '--resume')
    assert differences(state_of(undisturbed / 'iter_8.pth'), state_of(work_dir / 'iter_8.pth')) == []


def test_a_second_ctrl_c_leaves_at_once(tiny):
    # Sums of 4,000 iterations: the first Ctrl-C waits for an update that does not come.
    options = [*LONG, 'optim_wrapper.accumulative_counts=4000', 'train_cfg.val_interval=5000']
    run = ToolRun(
        'train.py', tiny / 'tiny.py', '--work-dir', tiny / 'twice', '--skip-check', *options, cwd=tiny
    )
    while scalars(tiny / 'twice') < 1:
        time.sleep(0.01)
    run.send(signal.SIGINT)
    time.sleep(1.5)
    assert run.running
    run.send(signal.SIGINT)
    assert run.wait(20) == 130
    assert not list((tiny / 'twice').glob('*.pth')) and 'again leaves at once' in run.output


def test_a_loss_that_is_not_finite_stops_with_the_pictures_and_saves_nothing_bad(tiny):
    work_dir = tiny / 'nan'
    options = ['--cfg-options', 'optim_wrapper.optimizer.lr=1e30', 'default_hooks.checkpoint.interval=1']
    run = train_here(tiny / 'tiny.py', work_dir, *options, ok=False)
    assert run.status == 3, run.output[-2000:]
    assert 'not finite' in run.output and 'iteration' in run.output and 'learning rate' in run.output
    log = next(work_dir.glob('*/*.log')).read_text()
    assert 'not finite' in log and 'Traceback' in log
    for path in work_dir.glob('*.pth'):
        weights = torch.load(path, weights_only=True)['state_dict']
        assert all(
            bool(torch.isfinite(value).all()) for value in weights.values() if value.is_floating_point()
        )


def test_patience_and_the_picture_names(tiny):
    config = tiny / 'blown.py'
    # A head whose loss is infinite from the start; its weights stay finite for the guard of the files.
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        "model = dict(decode_head=dict(loss_decode=dict(loss_weight=float('inf'))))\n"
        'optim_wrapper = dict(optimizer=dict(lr=0.0))\n'
        'default_hooks = dict(finite_guard=dict(patience=3), checkpoint=dict(interval=100))\n'
    )
    run = train_here(config, tiny / 'patience', ok=False)
    assert run.status == 3
    assert 'at iteration 3 ' in run.output and '(2 of 3 tolerated)' in run.output
    assert run.output.count('leftImg8bit.png') >= 6 and 'decode.loss_ce = inf' in run.output


def test_a_guard_can_be_switched_off_by_its_name(tiny):
    options = [
        '--cfg-options',
        'default_hooks.finite_guard=None',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=9',
    ]
    options += ['optim_wrapper.optimizer.lr=1e30', 'default_hooks.logger.interval=50']
    run = train_here(tiny / 'tiny.py', tiny / 'unguarded', *options)
    assert 'not finite' not in run.output
    # Long before the fiftieth iteration the log has said something.
    assert 'Iter(train) [1/2]' in run.output


def test_a_signal_within_a_validation_stops_it_and_resuming_repeats_it(tmp_path):
    data = write_pictures(tmp_path / 'data', train=4, val=150)
    config = write_config(tmp_path / 'tiny.py', data, iters=4)
    work_dir = tmp_path / 'run'
    run = ToolRun('train.py', config, '--work-dir', work_dir, '--skip-check', cwd=tmp_path)
    status = run.send_when(signal.SIGTERM, lambda: 'Iter(val)' in run.output)
    assert status == 143 and 'stopped in the validation after iteration 4' in run.output
    assert not (work_dir / 'validation_metrics.json').exists() and not list(work_dir.glob('best_*'))
    # Told again within the repeated validation, it stops at once: no iteration comes first.
    repeated = ToolRun('train.py', config, '--work-dir', work_dir, '--skip-check', '--resume', cwd=tmp_path)
    status = repeated.send_when(signal.SIGTERM, lambda: 'Iter(val)' in repeated.output)
    assert status == 143 and 'stopped in the validation after iteration 4' in repeated.output
    assert not (work_dir / 'validation_metrics.json').exists()
    resumed = train_here(config, work_dir, '--resume')
    assert 'the validation after iteration 4 is missing: it comes first' in resumed.output
    assert (work_dir / 'best_mIoU_iter_4.pth').exists() and 'Iter(train)' not in resumed.output
    assert '"iter": 4' in (work_dir / 'validation_metrics.json').read_text()
    again = train_here(config, work_dir, '--resume')
    assert 'comes first' not in again.output
