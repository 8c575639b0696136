"""A run that was killed and goes on is the run that was not: real processes, real kills, bit by bit."""

import json
import shutil
import signal

import pytest
import torch

from tests.engine.tiny_run import ToolRun, differences, run_tool_here, state_of, train_here, write_config


def killed(folder, config, work_dir, file, *args):
    run = ToolRun('train.py', config, '--work-dir', work_dir, '--skip-check', *args, cwd=folder)
    status = run.send_when(signal.SIGKILL, (work_dir / file).exists)
    assert status == -signal.SIGKILL


def test_kill_and_resume_is_bit_identical_whatever_the_workers(tiny, undisturbed):
    work_dir = tiny / 'killed'
    killed(tiny, tiny / 'tiny.py', work_dir, 'iter_3.pth')
    assert not (work_dir / 'iter_8.pth').exists()
    # It was started without workers and goes on with two.
    workers = ['--cfg-options', 'train_dataloader.num_workers=2', 'val_dataloader.num_workers=1']
    run = train_here(tiny / 'tiny.py', work_dir, '--resume', *workers)
    assert 'going on from' in run.output and 'iter_3.pth' in run.output
    assert differences(state_of(undisturbed / 'iter_8.pth'), state_of(work_dir / 'iter_8.pth')) == []
    undisturbed_score = json.loads((undisturbed / 'validation_metrics.json').read_text())
    assert json.loads((work_dir / 'validation_metrics.json').read_text()) == undisturbed_score


def test_resume_is_exact_with_averaged_weights_accumulation_and_checkpointing(tiny, undisturbed):
    config = tiny / 'ema.py'
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        'model = dict(backbone=dict(with_cp=True))\n'
        'optim_wrapper = dict(accumulative_counts=2)\n'
        'train_dataloader = dict(num_workers=1)\n'
        "custom_hooks = [dict(type='EMAHook', momentum=0.1)]\n"
    )
    train_here(config, tiny / 'ema_whole')
    # The interval of 3 falls within a sum of 2: the checkpoint waits for the update.
    assert sorted(p.name for p in (tiny / 'ema_whole').glob('iter_*')) == [
        'iter_4.pth',
        'iter_6.pth',
        'iter_8.pth',
    ]
    killed(tiny, config, tiny / 'ema_killed', 'iter_4.pth')
    train_here(config, tiny / 'ema_killed', '--resume')
    assert (
        differences(state_of(tiny / 'ema_whole/iter_8.pth'), state_of(tiny / 'ema_killed/iter_8.pth')) == []
    )
    # All of that did change the run: it is not the plain one.
    assert differences(
        state_of(undisturbed / 'iter_8.pth')['state_dict'],
        state_of(tiny / 'ema_whole/iter_8.pth')['state_dict'],
    )
    # Averaged weights are not continued as plain ones.
    refused = train_here(
        tiny / 'tiny.py', tiny / 'other', '--resume', tiny / 'ema_whole/iter_6.pth', ok=False
    )
    assert refused.status == 2 and 'EMAHook' in refused.output


def test_the_newest_whole_checkpoint_is_found_and_broken_ones_are_named(tiny, undisturbed):
    moved = tiny / 'moved'
    shutil.copytree(undisturbed, moved)
    (moved / 'iter_8.pth').write_bytes((moved / 'iter_8.pth').read_bytes()[:-1000])
    damaged = bytearray((moved / 'iter_6.pth').read_bytes())
    damaged[len(damaged) // 2] ^= 4
    (moved / 'iter_6.pth').write_bytes(damaged)
    run = train_here(tiny / 'tiny.py', moved, '--resume')
    assert (
        'passed over' in run.output
        and 'iter_8.pth: cut short' in run.output
        and 'iter_6.pth: damaged' in run.output
    )
    assert f'going on from {moved}/iter_3.pth' in run.output
    assert differences(state_of(undisturbed / 'iter_8.pth'), state_of(moved / 'iter_8.pth')) == []
    assert (moved / 'last_checkpoint').read_text() == 'iter_8.pth'


def test_a_longer_schedule_goes_on_with_its_own_rate(tiny, undisturbed):
    longer = write_config(tiny / 'longer.py', tiny / 'data', iters=12)
    run = train_here(longer, tiny / 'longer', '--resume', undisturbed / 'iter_6.pth')
    assert 'max_iters: 8 when saved, 12 now' in run.output
    rates = torch.load(tiny / 'longer/iter_12.pth', weights_only=True)['message_hub']['log_scalars'][
        'train/lr'
    ]['values']
    # The undisturbed twin of the longer schedule, straight from the scheduler.
    assert rates[-6:].tolist() == pytest.approx(fresh_rates(12)[6:], rel=1e-6)


def fresh_rates(iters: int) -> list[float]:
    """The rate of every iteration under the tiny config's schedule, from mmengine's schedulers alone."""
    from mmengine.optim import LinearLR, PolyLR

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = [
        LinearLR(optimizer, start_factor=1e-3, by_epoch=False, begin=0, end=3),
        PolyLR(optimizer, eta_min=0.0, power=1.0, by_epoch=False, begin=3, end=iters),
    ]
    rates = []
    for _ in range(iters):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for part in schedule:
            part.step()
    return rates


def test_what_would_make_it_another_run_stops(tiny, undisturbed):
    checkpoint = undisturbed / 'iter_6.pth'
    for option, words in (
        ('train_dataloader.batch_size=3', 'batch_size x processes: 2 when saved, 3 now'),
        ('model.decode_head.channels=16', 'of another shape: decode_head.conv_seg'),
        ('optim_wrapper.accumulative_counts=2', 'accumulate: 1 when saved, 2 now'),
    ):
        run = train_here(
            tiny / 'tiny.py', tiny / 'another', '--resume', checkpoint, '--cfg-options', option, ok=False
        )
        assert run.status == 2, run.output[-2000:]
        assert words in run.output
        assert not list((tiny / 'another').glob('*.pth'))


def test_used_work_dirs_missing_files_and_starting_fresh(tiny, undisturbed):
    used = train_here(tiny / 'tiny.py', undisturbed, ok=False)
    assert used.status == 2 and '--resume' in used.output and '--overwrite' in used.output
    missing = train_here(tiny / 'tiny.py', tiny / 'none', '--resume', tiny / 'nowhere.pth', ok=False)
    assert missing.status == 2 and 'nowhere.pth: no such file' in missing.output
    short = ['--cfg-options', 'train_cfg.max_iters=2']
    fresh = train_here(tiny / 'tiny.py', tiny / 'fresh', '--resume', *short)
    assert 'starts fresh' in fresh.output and (tiny / 'fresh/iter_2.pth').exists()
    again = train_here(
        tiny / 'tiny.py', tiny / 'fresh', '--overwrite', '--cfg-options', 'train_cfg.max_iters=1'
    )
    assert again.output and sorted(p.name for p in (tiny / 'fresh').glob('iter_*')) == ['iter_1.pth']


def test_weights_alone_cannot_be_resumed_but_trained_from(tiny, undisturbed):
    best = undisturbed / 'best_mIoU_iter_8.pth'
    refused = train_here(tiny / 'tiny.py', tiny / 'from_best', '--resume', best, ok=False)
    assert refused.status == 2 and 'no training state' in refused.output
    run = run_tool_here(
        'train.py', tiny / 'tiny.py', '--work-dir', tiny / 'from_best', '--skip-check',
        '--cfg-options', f'load_from={best}', 'train_cfg.max_iters=1', cwd=tiny,
    )  # fmt: skip
    assert f'read from {best}' in run.output
