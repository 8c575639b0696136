"""A typing error in a config is an error; a person's own variables are left alone."""

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg_tapadl.engine import ConfigError, load_config
from mmseg_tapadl.engine.any_device_amp import use_mixed_precision
from mmseg_tapadl.engine.config import unread_options
from mmseg_tapadl.engine.launching import prepare_processes


@pytest.fixture
def config(tmp_path):
    def write(text: str):
        path = tmp_path / 'some.py'
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('randomnes', 'randomness'),
        ('train_dataloder', 'train_dataloader'),
        ('optim_wraper', 'optim_wrapper'),
        ('custom_hook', 'custom_hooks'),
        ('param_schedulers', 'param_scheduler'),
        ('load_form', 'load_from'),
        ('test_evaluater', 'test_evaluator'),
        ('default_hook', 'default_hooks'),
    ],
)
def test_near_misses_are_errors_in_the_file_and_in_options(key, meant, config):
    with pytest.raises(ConfigError, match=f"unknown key '{key}': did you mean '{meant}'") as error:
        load_config(config(f'{key} = dict(seed=1)\n'))
    assert 'some.py' in str(error.value)
    with pytest.raises(ConfigError, match=meant):
        load_config(config('a = 1\n'), [f'{key}.seed=1'])


def test_own_variables_stay_free(config):
    own = 'max_iters=9\nmy_lr=1\ncrop=(1, 2)\ntrain_pipeline_small=[]\ncrop_size2=3\nimage_size=4\nclasses=[]\nstage1_model=5\n'
    cfg = load_config(config(own))
    assert cfg.my_lr == 1 and cfg.default_scope == 'mmseg'


def test_every_config_of_the_project_passes(repo_root):
    for path in sorted((repo_root / 'configs').glob('*.py')):
        load_config(path)


def test_options_are_values(config):
    cfg = load_config(
        config('a = dict(b=1, c=[dict(d=0)])\n'), ['a.b=[1,2.5,None]', 'a.c.0.d=(3,x)', 'e=text']
    )
    assert cfg.a.b == [1, 2.5, None] and cfg.a.c[0].d == (3, 'x') and cfg.e == 'text'
    with pytest.raises(ConfigError, match='key=value'):
        load_config(config('a = 1\n'), ['nonsense'])


def test_an_option_that_reaches_nothing_is_told(config, caplog):
    path = config(
        "crop_size = (64, 64)\noptimizer = dict(type='AdamW', lr=1)\noptim_wrapper = dict(optimizer=optimizer)\n"
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='RandomCrop', crop_size=crop_size)]))\nmine = 1\n"
    )
    told = unread_options(load_config(path), ['crop_size=(32,32)', 'optimizer.lr=1e-5', 'mine=2'])
    assert [note.rpartition('what acts is ')[2] for note in told[:2]] == [
        'train_dataloader.dataset.pipeline.0.crop_size',
        'optim_wrapper.optimizer.lr',
    ]
    assert all('changes nothing' in note for note in told) and 'what acts' not in told[2]
    read = ['optim_wrapper.optimizer.lr=1e-5', 'data_preprocessor.size=(1,1)', 'load_from=x', 'resume=True']
    assert unread_options(load_config(path), read) == []
    MMLogger.get_current_instance().addHandler(caplog.handler)
    load_config(path, ['optimizer.lr=1e-5'])
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert 'optim_wrapper.optimizer.lr' in caplog.text
    filled = config('data_preprocessor = dict(size=1)\nmodel = dict(data_preprocessor=data_preprocessor)\n')
    (note,) = unread_options(load_config(filled), ['data_preprocessor.size=2'])
    assert note.endswith('what acts is model.data_preprocessor.size')


def test_missing_and_broken_files_are_named(config, tmp_path):
    config('a = 1\n')
    with pytest.raises(ConfigError, match=r'som.py: no such config file \(did you mean .*some.py'):
        load_config(tmp_path / 'som.py')
    with pytest.raises(ConfigError, match=r'some.py: cannot be read: SyntaxError'):
        load_config(config('a = (\n'))
    with pytest.raises(ConfigError, match=r'some.py: cannot be read: .*missing_base'):
        load_config(config("_base_ = './missing_base.py'\n"))


@pytest.mark.skipif(torch.cuda.is_available(), reason='describes machines without CUDA')
def test_sync_bn_gives_way_everywhere_and_amp_fits_the_device():
    norm = dict(type='SyncBN', requires_grad=True)
    cfg = Config(
        dict(
            model=dict(a=dict(norm_cfg=norm), heads=[dict(norm_cfg=dict(norm))]),
            optim_wrapper=dict(type='OptimWrapper'),
        )
    )
    notes = prepare_processes(cfg, 'none')
    assert cfg.model.a.norm_cfg == dict(type='BN', requires_grad=True) == cfg.model.heads[0].norm_cfg
    assert any('SyncBN became BN' in note for note in notes)
    assert use_mixed_precision(cfg.optim_wrapper) == 'bfloat16'
    assert cfg.optim_wrapper.type == 'CpuAmpOptimWrapper'
