"""A run counts iterations: whatever counts epochs is refused before anything starts, with what to write instead."""

import pytest
from mmengine.config import Config

from mmseg_tapadl.engine.config import ConfigError
from mmseg_tapadl.engine.counting import refuse_epochs
from tests.engine.tiny_run import train_here

BY_EPOCH = dict(type='PolyLR', eta_min=0.0, begin=0, end=2)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (
            dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)),
            [
                'EpochBasedTrainLoop',
                "type='IterBasedTrainLoop', max_iters=N",
                '2 x pictures',
                'val_interval=M',
            ],
        ),
        (dict(train_cfg=dict(type='mmengine.EpochBasedTrainLoop', max_epochs=2)), ['IterBasedTrainLoop']),
        (dict(train_cfg=dict(by_epoch=True, max_epochs=3)), ['by_epoch=True', '3 x pictures']),
        (dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=9, max_epochs=3)), ['max_epochs=3']),
        (dict(param_scheduler=[BY_EPOCH]), ['param_scheduler.0 (PolyLR)', 'not set, which means True']),
        (dict(param_scheduler=dict(BY_EPOCH, by_epoch=True)), ['param_scheduler (PolyLR): by_epoch is True']),
        (dict(param_scheduler=dict(encoder=[BY_EPOCH])), ['param_scheduler.encoder.0']),
        (dict(log_processor=dict(by_epoch=True)), ['log_processor.by_epoch']),
        (
            dict(default_hooks=dict(checkpoint=dict(type='WholeCheckpointHook', by_epoch=True))),
            ['hooks.checkpoint'],
        ),
        (dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1))), ['which means True']),
        (
            dict(default_hooks=dict(logger=dict(type='SteadyLoggerHook', log_metric_by_epoch=True))),
            ['default_hooks.logger', 'log_metric_by_epoch=False'],
        ),
        (dict(custom_hooks=[dict(type='EMAHook', begin_epoch=2)]), ['custom_hooks.0', 'begin_iter']),
    ],
)
def test_what_counts_epochs_is_named_with_what_to_write(tiny, options, words):
    cfg = Config.fromfile(str(tiny / 'tiny.py'))
    for key, value in options.items():
        cfg[key] = value
    with pytest.raises(ConfigError) as refusal:
        refuse_epochs(cfg)
    text = str(refusal.value)
    assert all(word in text for word in words) and 'tiny.py' in text and '\n' not in text


def test_what_counts_iterations_passes(tiny, repo_root):
    cfg = Config.fromfile(str(tiny / 'tiny.py'))
    refuse_epochs(cfg)
    cfg.param_scheduler = [
        dict(type='PolyLR', by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
        dict(type='ReduceOnPlateauLR', monitor='mIoU'),
    ]
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=3)
    cfg.custom_hooks = [dict(type='EMAHook', begin_iter=3)]
    refuse_epochs(cfg)
    for path in (repo_root / 'configs').glob('*.py'):
        refuse_epochs(Config.fromfile(str(path)))


def test_a_training_by_epochs_starts_nothing(tiny):
    config = tiny / 'epochs.py'
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        "train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)\n"
        "param_scheduler = [dict(type='ConstantLR', factor=1.0)]\n"
    )
    run = train_here(config, tiny / 'by_epochs', ok=False)
    assert run.status == 2 and not (tiny / 'by_epochs').exists()
    (line,) = [text for text in run.output.splitlines() if ': error: ' in text]
    assert 'train_cfg has' in line and 'param_scheduler.0' in line
