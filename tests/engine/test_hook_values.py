"""A value in the config that a hook, a sampler or a test cannot take ends a tool in one line, with status 2."""

import pytest
from mmseg.registry import DATA_SAMPLERS, HOOKS

import mmseg_tapadl.register  # noqa: F401
from mmseg_tapadl.engine.runner import TrustedRunner
from mmseg_tapadl.evaluation.seen_pictures import picture_as_seen
from mmseg_tapadl.layers.attention_watch import AttentionWatch, WatchableAttention
from mmseg_tapadl.layers.fan_block import FANBlock
from mmseg_tapadl.layers.token_aware_pooling import TokenAwareAvgPool
from mmseg_tapadl.models.segmentors.sliding_window import sliding_windows
from mmseg_tapadl.utils import InputError
from tests.engine.tiny_run import train_here


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (dict(type='FiniteGuardHook', patience=0), 'FiniteGuardHook: patience .* not 0'),
        (dict(type='FiniteGuardHook', patience='two'), "FiniteGuardHook: patience .* not 'two'"),
        (dict(type='WholeCheckpointHook', max_keep_ckpts=1), 'WholeCheckpointHook: max_keep_ckpts .* 2'),
        (dict(type='WholeCheckpointHook', by_epoch=True), 'WholeCheckpointHook counts iterations'),
        (dict(type='SaveOverlaysHook', folder='x', opacity=1.5), 'SaveOverlaysHook: opacity .* not 1.5'),
        (
            dict(type='SaveOverlaysHook', folder='x', opacity='full'),
            "SaveOverlaysHook: opacity .* not 'full'",
        ),
    ],
)
def test_hooks(hook, message):
    with pytest.raises(InputError, match=message):
        HOOKS.build(hook)


@pytest.mark.parametrize(
    ('crop_size', 'stride', 'message'),
    [
        ((64, 64), (0, 48), r'stride=\(0, 48\)'),
        ((64, 64), (48, 65), r'stride=\(48, 65\)'),
        (64, (48, 48), 'crop_size=64: it must be'),
        (None, (48, 48), 'crop_size=None: it must be'),
        ((64, 64), (48,), r'stride=\(48,\): it must be'),
    ],
)
def test_sliding_windows(crop_size, stride, message):
    with pytest.raises(InputError, match=f'test_cfg: {message}'):
        list(sliding_windows((100, 100), crop_size, stride))


@pytest.mark.parametrize(
    'build',
    [
        lambda: DATA_SAMPLERS.build(dict(type='PositionedSampler', dataset=[])),
        lambda: picture_as_seen([], {}),
        lambda: TrustedRunner.load_checkpoint(None, 'x.pth', revise_keys=[('a', 'b')]),
        lambda: FANBlock(30, num_heads=4, norm_layer=None),
        lambda: TokenAwareAvgPool(8, num_branches=0),
        lambda: WatchableAttention(attn_drop_rate=1.0),
        lambda: AttentionWatch(WatchableAttention(), layers=[3]),
    ],
)
def test_others(build):
    with pytest.raises(InputError):
        build()


def test_at_a_tool(tiny, tmp_path):
    options = ['--cfg-options', 'default_hooks.finite_guard.patience=0']
    run = train_here(tiny / 'tiny.py', tmp_path / 'run', *options, ok=False)
    assert run.status == 2 and 'Traceback' not in run.output
    assert 'patience must be a whole number of at least 1, not 0\n' in run.output
