"""A config that describes what cannot be built or used ends a training in one line that names the key, with status 2."""

import pytest
import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from mmseg_tapadl.engine.building import building
from mmseg_tapadl.engine.config import ConfigError
from mmseg_tapadl.engine.runner import TrustedRunner
from mmseg_tapadl.engine.training import train
from mmseg_tapadl.engine.unusable_values import refuse_unusable
from mmseg_tapadl.layers.activation_checkpoint import recompute_if_liked
from tests.engine.tiny_run import train_here

ENDS = 'train_dataloader.sampler.type=DefaultSampler'


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['train_dataloader.batch_size=0'], ['train_dataloader.batch_size is 0']),
        (['val_dataloader.batch_size=-1'], ['val_dataloader.batch_size is -1']),
        (['train_dataloader.batch_size=2.5'], ['train_dataloader.batch_size is 2.5']),
        (['train_cfg.val_interval=0'], ['train_cfg.val_interval is 0', 'set val_dataloader']),
        (['train_cfg.max_iters=None'], ['train_cfg.max_iters is None']),
        (['val_evaluator=None'], ['val_dataloader and val_cfg need val_evaluator']),
        (['optim_wrapper=None'], ['need optim_wrapper']),
        (['auto_scale_lr.enable=True'], ['auto_scale_lr.base_batch_size is not stated']),
        (['auto_scale_lr.enable=True', 'auto_scale_lr.base_batch_size=0'], ['base_batch_size is 0']),
        (
            ['optim_wrapper.optimizer.weight_decay=None', 'optim_wrapper.paramwise_cfg.norm_decay_mult=0'],
            ['optim_wrapper.paramwise_cfg.norm_decay_mult', 'write optim_wrapper.optimizer.weight_decay=0.0'],
        ),
        (
            ['model.decode_head.out_channels=3'],
            ['model.decode_head (SegformerHead) cannot be built: ValueError'],
        ),
        (
            ['model.backbone.type=Nothing'],
            ['model.backbone (Nothing) cannot be built: KeyError: Nothing is not'],
        ),
        (
            ['model.backbone.num_heads=[1]'],
            ['model.backbone (MixVisionTransformer) cannot be built: AssertionError'],
        ),
        (['default_hooks.logger.nothing=1'], ['default_hooks.logger (', 'TypeError']),
        (
            ['train_dataloader.dataset.pipeline.3.crop_size=(0,0)'],
            ['train_dataloader.dataset.pipeline.3 (RandomCrop)'],
        ),
        (
            ['train_dataloader.num_workers=-1'],
            ['train_cfg or train_dataloader cannot be built', 'num_workers'],
        ),
        (
            ['optim_wrapper.optimizer.lr=-1.0'],
            ['optim_wrapper.optimizer (AdamW) cannot be built: ValueError'],
        ),
        (['param_scheduler.1.type=Nothing'], ['param_scheduler.1 (Nothing) cannot be built']),
        (['val_evaluator.type=Nothing'], ['val_evaluator (Nothing) cannot be built']),
        (
            ['train_dataloader.batch_size=20', ENDS, 'train_dataloader.drop_last=True'],
            [
                'train_dataloader.batch_size is 20 and drop_last is True',
                '12 pictures',
                'train_dataloader.drop_last=False',
            ],
        ),
    ],
)
def test_one_line_names_the_key(tiny, tmp_path, options, words):
    with pytest.raises(ConfigError) as caught:
        train(tiny / 'tiny.py', work_dir=str(tmp_path / 'run'), cfg_options=options)
    text = str(caught.value)
    assert text.startswith(f'{tiny}/tiny.py: ') and '\n' not in text
    assert [word for word in words if word not in text] == [], text


def test_at_the_tool_the_traceback_is_in_the_log_file_only(tiny, tmp_path):
    run = train_here(
        tiny / 'tiny.py', tmp_path / 'run', '--cfg-options', 'optim_wrapper.optimizer.lr=-1.0', ok=False
    )
    assert run.status == 2 and 'Traceback' not in run.output
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'Traceback' in log.read_text() and 'Invalid learning rate' in log.read_text()


@pytest.mark.parametrize('wrong', [dict(val_interval=1e4), dict(max_iters=8)])
def test_usable_values_pass(tiny, wrong):
    cfg = Config.fromfile(str(tiny / 'tiny.py'))
    cfg.train_cfg.update(wrong)
    cfg.auto_scale_lr = dict(enable=False)
    refuse_unusable(cfg)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    refuse_unusable(cfg)


def test_endless_sampling_fills_any_batch(tiny, tmp_path):
    register_all_modules()
    cfg = Config.fromfile(str(tiny / 'tiny.py'))
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.update(batch_size=20, drop_last=True)
    runner = TrustedRunner.from_cfg(cfg)
    assert runner.build_train_loop(cfg.train_cfg).max_iters == 8


def test_compiling(tiny):
    cfg = Config.fromfile(str(tiny / 'tiny.py'))
    cfg.compile = True
    refuse_unusable(cfg)  # mmseg's own checkpointing is not ours to judge
    cfg.model.backbone = dict(type='TAPMixVisionTransformer', with_cp=False)
    refuse_unusable(cfg)
    cfg.model.backbone.with_cp = True
    with pytest.raises(ConfigError, match=r'write model\.backbone\.with_cp=False, or compile=False'):
        refuse_unusable(cfg)


def test_in_compiled_code_the_compiler_decides_what_is_computed_again():
    layer = torch.nn.Linear(4, 4).train()
    compiled = torch.compile(
        lambda x: recompute_if_liked(layer, layer.forward, x), backend='eager', fullgraph=True
    )
    x = torch.ones(2, 4, requires_grad=True)
    compiled(x).sum().backward()
    assert torch.equal(x.grad, layer.weight.sum(0).expand(2, 4))


def test_an_error_that_is_no_fault_of_a_config_stays_what_it_is():
    for error in (
        RuntimeError('device'),
        MemoryError(),
        FileNotFoundError(2, 'no file', 'x'),
        ConfigError('own'),
    ):
        with pytest.raises(type(error)) as caught, building(None, 'model'):
            raise error
        assert caught.value is error
