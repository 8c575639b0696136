"""Runs of a vision transformer of timm: where its weights come from, and when nobody asks for them."""

import re

import pytest
import timm
import torch

from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint
from tests.engine.tiny_run import run_tool_here, train_here, write_config, write_pictures

_MODEL = """
custom_imports = dict(imports=['mmseg_tapadl.register'], allow_failed_imports=False)
model = dict(
    _delete_=True, type='AttentionEncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean='encoder', std='encoder', size=(64, 64), seg_pad_val=255),
    backbone=dict(type='TimmViT', model='test_vit', out_indices=(1, 3), tap=dict(num_branches=3), {options}),
    decode_head=dict(
        type='FCNHead', num_convs=0, concat_input=False, in_channels=[64, 64], in_index=[0, 1],
        input_transform='resize_concat', channels=128, num_classes=19),
    loss_attention=dict(type='AttentionDiversificationLoss'), test_cfg=dict(mode='whole'))
"""
# Nobody answers there: what asks all the same ends with status 2.
NO_HUB = dict(HF_ENDPOINT='http://127.0.0.1:9', http_proxy='', https_proxy='', all_proxy='')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('timm')
    write_pictures(folder / 'data', train=4, val=1)
    write_config(folder / 'base.py', folder / 'data', iters=4)
    torch.manual_seed(4)
    # At another grid than the model's own 10 x 10.
    torch.save({'model': timm.create_model('test_vit', img_size=96).state_dict()}, folder / 'deit_style.pth')
    return folder


def config(folder, name: str, options: str = '', last: str = ''):
    path = folder / f'{name}.py'
    base = str(folder / 'base.py')
    hooks = 'default_hooks = dict(checkpoint=dict(interval=1))\n'
    path.write_text(f'_base_ = {base!r}\n{_MODEL.format(options=options)}{hooks}{last}')
    return path


def test_pretrained_takes_timms_keys_and_the_log_says_how_many(folder):
    run = train_here(
        config(folder, 'plain'), folder / 'plain', '--pretrained', folder / 'deit_style.pth', '--seed', 1,
        '--cfg-options', 'optim_wrapper.optimizer.lr=0.0',
    )  # fmt: skip
    (found,) = re.findall(
        r'encoder: (\d+) of (\d+) tensors from .*deit_style\.pth; (\d+) stay random', run.output
    )
    taken, all_of_them, random = map(int, found)
    state = read_checkpoint(folder / 'plain' / 'iter_4.pth')['state_dict']
    own = {key: value for key, value in state.items() if key.startswith('backbone.')}
    counters = [key for key in own if key.endswith('num_batches_tracked')]
    pooling = [key for key in own if 'dilation_predictor' in key]
    assert (taken, all_of_them) == (len(own) - len(pooling), len(own))
    assert random == len(pooling) - len(counters)
    weights = torch.load(folder / 'deit_style.pth', weights_only=True)['model']
    assert torch.equal(own['backbone.model.blocks.2.attn.qkv.weight'], weights['blocks.2.attn.qkv.weight'])
    assert 'TimmViT test_vit with FCNHead' in run.output
    assert re.search(r'weights +encoder from .*deit_style\.pth, the rest random', run.output)
    # Such a run's own checkpoint starts another.
    again = train_here(
        config(folder, 'plain'), folder / 'again', '--pretrained', folder / 'plain' / 'iter_4.pth'
    )
    assert f'encoder: {len(own)} of {len(own)} tensors from' in again.output


def test_weights_of_another_model_end_with_status_2_before_anything_is_trained(folder):
    torch.save(timm.create_model('test_vit3').state_dict(), folder / 'other.pth')
    run = train_here(
        config(folder, 'plain'), folder / 'refused', '--pretrained', folder / 'other.pth', ok=False
    )
    assert run.status == 2
    assert run.output.strip().splitlines()[-1].count('weights of another model') == 1
    assert 'Traceback' not in run.output and 'Iter(train)' not in run.output


def test_timms_weights_without_a_network_end_with_status_2(folder, run_tool):
    fetching = config(folder, 'fetching', 'pretrained=True')
    run = run_tool(
        'train.py', fetching, '--skip-check', '--work-dir', folder / 'fetching', env=NO_HUB, ok=False
    )
    assert run.returncode == 2
    assert "the weights of 'test_vit' cannot be fetched by timm: no way to http://127.0.0.1:9" in run.stderr
    assert 'Traceback' not in run.stderr and 'Retrying' not in run.stderr


def test_weights_are_asked_for_only_where_a_training_starts_from_nothing(folder):
    """The file is gone: training ends in one line; resuming, starting from a checkpoint, testing do not ask for it."""
    work = folder / 'asked'
    short = ('--cfg-options', 'train_cfg.max_iters=1', 'train_cfg.val_interval=1')
    train_here(config(folder, 'asked'), work, *short)
    asking = config(folder, 'asked', "pretrained='gone.pth'")
    for start in ('--overwrite', '--resume'):  # a run that finds nothing to go on from starts, and asks
        refused = train_here(asking, folder / 'fresh', start, ok=False)
        assert refused.status == 2
        assert "pretrained='gone.pth': gone.pth: no such file" in refused.output
        assert 'Traceback' not in refused.output
    assert 'going on from' in train_here(asking, work, '--resume').output
    checkpoint = work / 'iter_4.pth'
    train_here(asking, folder / 'tuned', *short, f'load_from={checkpoint}')
    run_tool_here('test.py', asking, checkpoint, '--work-dir', folder / 'test', cwd=folder)
    picture = next((folder / 'data/leftImg8bit/val').rglob('*.png'))
    run_tool_here('predict.py', asking, checkpoint, picture, '--out', folder / 'out', cwd=folder)
    run_tool_here('analysis_tools/complexity.py', asking, '--size', '64', cwd=folder)


def test_frozen_weights_have_no_state_in_the_optimizer(folder):
    frozen = config(folder, 'frozen', 'frozen=True')
    train_here(frozen, folder / 'frozen', '--pretrained', folder / 'deit_style.pth')
    saved = read_checkpoint(folder / 'frozen' / 'iter_4.pth')
    weights = torch.load(folder / 'deit_style.pth', weights_only=True)['model']
    state = saved['state_dict']
    assert torch.equal(state['backbone.model.blocks.2.attn.qkv.weight'], weights['blocks.2.attn.qkv.weight'])
    learned = [
        key for key in state if ('dilation_predictor' in key or key.startswith('decode_head')) and
        key.endswith(('.weight', '.bias'))
    ]  # fmt: skip
    assert len(saved['optimizer']['state']) == len(learned)


def test_layer_wise_decay_trains_and_resumes(folder):
    decayed = config(
        folder,
        'decayed',
        # As mmseg's users write it for its own encoders.
        last="optim_wrapper = dict(constructor='LearningRateDecayOptimizerConstructor', paramwise_cfg=dict("
        "decay_rate=0.8, decay_type='layer_wise', num_layers=4))\n",
    )
    run = train_here(
        decayed, folder / 'decayed', '--cfg-options', 'train_cfg.max_iters=1', 'train_cfg.val_interval=1'
    )
    assert 'layer-wise decay 0.8' in run.output
    assert 'going on from' in train_here(decayed, folder / 'decayed', '--resume').output
