"""RVT's released files through the command lines: the converter, and training from a file as it was released."""

import argparse

import pytest
import torch

from tests.engine.tiny_run import run_tool_here, train_here, write_config, write_pictures
from tests.references.released_rvt import RELEASED, ReleasedRVT, rvt_weights

SMALL = ReleasedRVT((8, 16), (2, 1), (2, 2))
MODEL = """
model = dict(
    backbone=dict(
        _delete_=True, type='RVT', tap=dict(num_branches=3), out_indices=(0, 1),
        arch=dict(embed_dims=(8, 16), depths=(2, 1), num_heads=(2, 2), feature_blocks=(0, 2), paas_blocks=(0, 1))),
    decode_head=dict(in_channels=[8, 16], in_index=[0, 1]))
train_cfg = dict(max_iters=1)
optim_wrapper = dict(
    optimizer=dict(lr=0.0), constructor='EncoderLayerDecayConstructor',
    paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise'))
param_scheduler = None
val_dataloader = val_cfg = val_evaluator = None
"""

# Three blocks, so that the decode head is layer 4.
RATES = {
    'patch_embed.proj.0.weight': 0.8**4,
    'transformers.0.blocks.1.mlp.dwconv.weight': 0.8**2,
    'transformers.0.blocks.0.attn.att_mask': 0.8**3,
    'pools.0.conv.weight': 0.8,
    'transformers.1.blocks.0.attn.qkv.weight': 0.8,
    'transformers.0.blocks.0.dilation_predictor.proj.2.weight': 1.0,
    'norm.weight': 1.0,
}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('rvt')
    write_config(folder / 'tiny.py', write_pictures(folder / 'data', train=2, val=1))
    (folder / 'rvt.py').write_text(
        f"_base_ = './tiny.py'\n{MODEL}default_hooks = dict(checkpoint=dict(save_best=None))\n"
    )
    return folder / 'rvt.py'


def test_training_starts_from_a_file_as_it_was_released(config):
    folder = config.parent
    weights = rvt_weights(SMALL, paas=(0, 1), branches=3)
    last = rvt_weights(SMALL, seed=5, paas=(0, 1), branches=3)
    torch.save(
        {'state_dict': last, 'state_dict_ema': weights, 'args': argparse.Namespace(lr=1.0)},
        folder / 'timm.pth',
    )
    run = train_here(config, folder / 'from', '--pretrained', folder / 'timm.pth')
    kept = [name for name in weights if not name.startswith('head.')]
    assert f'encoder: {len(kept)} of {len(kept)} tensors from {folder}/timm.pth' in run.output
    assert 'layer-wise decay 0.8' in run.output
    saved = torch.load(folder / 'from/iter_1.pth', weights_only=True)
    groups = saved['optimizer']['param_groups']
    scales = {name: group['lr_scale'] for group in groups for name in group['param_names']}
    assert {name: scales[f'backbone.{name}'] for name in RATES} == pytest.approx(RATES)
    assert scales['decode_head.conv_seg.weight'] == 1.0
    decayed = [name for group in groups if group['weight_decay'] for name in group['param_names']]
    assert 'backbone.transformers.0.blocks.0.attn.att_mask' in decayed
    result = saved['state_dict']
    for name in kept:
        if name.endswith(('weight', 'bias', 'att_mask')):  # running statistics move
            assert torch.equal(result[f'backbone.{name}'], weights[name]), name


def test_another_structure_ends_with_status_2_and_no_step(config):
    folder = config.parent
    torch.save({'model': rvt_weights(SMALL, feed_forward='plain', paas=(0, 1))}, folder / 'plain.pth')
    run = train_here(config, folder / 'plain', '--pretrained', folder / 'plain.pth', ok=False)
    assert run.status == 2
    assert f'{folder}/plain.pth: ' in run.output and 'transformers.0.blocks.0.mlp.fc1.weight' in run.output
    assert 'plain feed-forward' in run.output and 'Traceback' not in run.output
    assert not list((folder / 'plain').glob('*.pth'))


def test_the_converter_says_the_structure_and_stores_it(tmp_path):
    weights = rvt_weights(RELEASED['tiny'], feed_forward='plain', paas=(0, 3), branches=4)
    torch.save({'state_dict': weights}, tmp_path / 'src.pth.tar')
    tool = 'model_converters/tapadl2mmseg.py'
    run = run_tool_here(tool, tmp_path / 'src.pth.tar', tmp_path / 'dst.pth', cwd=tmp_path)
    assert (
        'RVT tiny_plus (192 x 10, 384 x 2), plain feed-forward, PAAS in blocks 0, 3, with TAP' in run.output
    )
    assert 'dropped  2 keys: the ImageNet classifier' in run.output
    assert 'configs/rvt_tapadl_cityscapes.py --pretrained' in run.output
    assert "model.backbone.feed_forward=plain 'model.backbone.paas_blocks=[0,3]'" in run.output
    meta = torch.load(tmp_path / 'dst.pth', weights_only=True)['meta']
    assert {key: meta[key] for key in ('arch', 'feed_forward', 'paas_blocks', 'num_branches')} == dict(
        arch='tiny_plus', feed_forward='plain', paas_blocks=[0, 3], num_branches=4
    )
    weights['transformers.0.blocks.3.attn.att_mask'] = torch.zeros(6, 49, 49)
    torch.save({'state_dict': weights}, tmp_path / 'grid.pth')
    refused = run_tool_here(tool, tmp_path / 'grid.pth', tmp_path / 'never.pth', cwd=tmp_path, ok=False)
    assert refused.status == 2 and not (tmp_path / 'never.pth').exists()
    assert 'transformers.0.blocks.3.attn.att_mask is [6, 49, 49]: PAAS of another grid' in refused.output
