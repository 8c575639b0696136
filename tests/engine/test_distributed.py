"""Several processes without CUDA: the same training, the same score, and a quick end when one fails."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

from tests.engine.tiny_run import ROOT, run_tool_here, train_here, two_processes, write_config, write_pictures


@pytest.fixture(scope='module')
def comparable(tiny):
    """A config without what differs between processes by design: batch statistics and dropout."""
    config = tiny / 'comparable.py'
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        "custom_imports = dict(imports=['mmseg_tapadl.register', 'tests.engine.dump_losses'])\n"
        "custom_hooks = [dict(type='DumpLossesHook')]\n"
        'model = dict(\n'
        '    backbone=dict(drop_rate=0.0, drop_path_rate=0.0),\n'
        "    decode_head=dict(dropout_ratio=0.0, norm_cfg=dict(_delete_=True, type='GN', num_groups=8)))\n"
        # With plain gradient descent the weights after a step are the gradients.
        "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1))\n"
        'train_cfg = dict(max_iters=3, val_interval=100)\n'
    )
    return config


def test_two_processes_train_as_one_on_the_same_global_batch(tiny, comparable):
    train_here(comparable, tiny / 'one', '--cfg-options', 'train_dataloader.batch_size=4')
    main, _ = two_processes(
        'train.py', comparable, '--work-dir', tiny / 'two', '--skip-check',
        '--cfg-options', 'train_dataloader.batch_size=2', cwd=tiny,
    )  # fmt: skip
    assert 'no CUDA: the processes talk over gloo' in main.output
    losses = [
        json.loads((tiny / folder).read_text())
        for folder in ('one/losses_0.json', 'two/losses_0.json', 'two/losses_1.json')
    ]
    for one, first, second in zip(*losses, strict=True):
        assert one == pytest.approx((first + second) / 2, rel=1e-5)
        assert first != second
    one, two = (torch.load(tiny / folder / 'iter_3.pth', weights_only=True) for folder in ('one', 'two'))
    for key, value in one['state_dict'].items():
        assert torch.allclose(value, two['state_dict'][key], rtol=1e-4, atol=1e-6), key


@pytest.mark.parametrize('pictures', [1, 2, 5])
def test_two_processes_score_to_the_last_byte_as_one(tiny, undisturbed, tmp_path, pictures):
    data = write_pictures(tmp_path / 'data', train=1, val=pictures)
    config = write_config(tmp_path / 'tiny.py', data)
    checkpoint = undisturbed / 'iter_8.pth'
    for batch in (1, 2):
        arguments = [
            config,
            checkpoint,
            '--skip-check',
            '--cfg-options',
            f'test_dataloader.batch_size={batch}',
        ]
        run_tool_here('test.py', *arguments, '--work-dir', tmp_path / f'one{batch}', cwd=tmp_path)
        if batch == 2 and pictures != 5:
            continue
        two_processes('test.py', *arguments, '--work-dir', tmp_path / f'two{batch}', cwd=tmp_path)
        assert (tmp_path / f'one{batch}/metrics.json').read_bytes() == (
            tmp_path / f'two{batch}/metrics.json'
        ).read_bytes()


def test_when_one_process_fails_all_stop_and_the_cause_comes_first(tiny, tmp_path):
    data = write_pictures(tmp_path / 'data', train=4, val=1)
    bad = data / 'leftImg8bit/train/town/town_000002_000000_leftImg8bit.png'
    bad.write_bytes(bad.read_bytes()[:100])
    config = write_config(tmp_path / 'tiny.py', data)
    start = time.monotonic()
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/dist_train.sh'), str(config), '2', '--work-dir', str(tmp_path / 'run'), '--skip-check',
         '--cfg-options', 'train_dataloader.batch_size=1'],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={**os.environ, 'PYTHON': sys.executable, 'PORT': str(30000 + os.getpid() % 10000)},
    )  # fmt: skip
    assert done.returncode != 0 and time.monotonic() - start < 100
    cause = done.stderr.find(str(bad))
    assert cause > 0, done.stderr[-3000:]
    others = [
        place
        for text in ('stopped, because another', 'closed by peer')
        if (place := done.stderr.find(text)) > 0
    ]
    assert all(cause < place for place in others)


def test_the_launcher_needs_its_environment(tiny):
    run = train_here(tiny / 'tiny.py', tiny / 'launch', '--launcher', 'pytorch', ok=False)
    assert run.status == 2 and 'torchrun' in run.output
