"""Swin's weights through the command line: converted, and started from as they are."""

import pytest
import torch

from tests.engine.tiny_run import run_tool_here, train_here, write_config, write_pictures
from tests.models.test_swin_weights import FOUR, started, timm_swin, without
from tests.models.test_tap_swin import mmseg_swin

ENCODER = f"""
_base_ = 'tiny.py'
custom_imports = dict(imports=['mmseg_tapadl.register'])
model = dict(
    backbone=dict(_delete_=True, type='TAPSwin', arch={FOUR!r}, tap=dict(num_branches=2)),
    decode_head=dict(in_channels=[8, 16, 32, 64]),
)
train_cfg = dict(max_iters=1)
val_dataloader, val_cfg, val_evaluator = None, None, None
default_hooks = dict(checkpoint=dict(save_best=None))
optim_wrapper = dict(
    optimizer=dict(lr=0.0), constructor='EncoderLayerDecayConstructor', paramwise_cfg=dict(decay_rate=0.5))
param_scheduler = None
"""


@pytest.fixture
def convert(tmp_path):
    """Runs the converter on these weights, from ``src.pth`` to ``dst.pth``."""

    def run(weights: dict):
        torch.save(weights, tmp_path / 'src.pth')
        return run_tool_here('model_converters/swin2mmseg.py', 'src.pth', 'dst.pth', cwd=tmp_path, ok=False)

    return run


def scales_of(optimizer: dict) -> dict[str, float]:
    """The factor of each parameter's learning rate, by name."""
    return {name: group['lr_scale'] for group in optimizer['param_groups'] for name in group['param_names']}


def decays_of(optimizer: dict) -> dict[str, float]:
    """The weight decay of each parameter, by name."""
    return {
        name: group['weight_decay'] for group in optimizer['param_groups'] for name in group['param_names']
    }


def test_a_converted_file_starts_mmsegs_encoder_and_ours_alike(convert, tmp_path):
    run = convert(timm_swin().state_dict())
    assert run.status == 0, run.output
    assert 'embed_dims=8, depths=(2, 1, 2, 2), num_heads=(1, 2, 4, 4), window_size=2' in run.output
    encoder = mmseg_swin(FOUR, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'dst.pth')))
    encoder.init_weights()
    direct = started(tmp_path / 'src.pth').float()
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, direct.state_dict()[name]), name


def test_the_converter_writes_nothing_where_a_key_does_not_fit(convert, tmp_path):
    run = convert(without(timm_swin().state_dict(), 'layers.1.blocks.0.norm2.bias'))
    assert run.status == 2 and run.output.count('\n') == 1, run.output
    assert 'src.pth: weights of another model: 1 missing: stages.1.blocks.0.norm2.bias (16,)' in run.output
    assert not (tmp_path / 'dst.pth').exists()


def test_training_starts_from_timms_file_counts_what_came_from_it_and_decays_rates_by_layers(tmp_path):
    data = write_pictures(tmp_path / 'data', train=2, val=1)
    write_config(tmp_path / 'tiny.py', data)
    (tmp_path / 'swin.py').write_text(ENCODER)
    torch.save(
        timm_swin(dict(FOUR, window_size=3), img_size=(192, 192)).float().state_dict(), tmp_path / 'timm.pth'
    )
    run = train_here(tmp_path / 'swin.py', tmp_path / 'work', '--pretrained', tmp_path / 'timm.pth')
    assert 'timm.pth; 50 stay random: stages.0.blocks.0.dilation_predictor' in run.output
    assert 'position biases of windows [3] resampled to [2]' in run.output
    saved = torch.load(tmp_path / 'work' / 'iter_1.pth', weights_only=True)
    scales = scales_of(saved['optimizer'])
    assert scales['backbone.patch_embed.projection.weight'] == 0.5**8
    assert scales['backbone.stages.0.blocks.1.attn.w_msa.qkv.weight'] == 0.5**6  # the second of seven blocks
    assert scales['backbone.stages.0.downsample.reduction.weight'] == 0.5**6
    assert scales['backbone.stages.3.blocks.1.norm1.bias'] == 0.5
    assert scales['backbone.norm3.weight'] == scales['decode_head.conv_seg.weight'] == 1.0
    assert scales['backbone.stages.0.blocks.0.dilation_predictor.proj.0.weight'] == 1.0
    table = 'backbone.stages.1.blocks.0.attn.w_msa.relative_position_bias_table'
    assert decays_of(saved['optimizer'])[table] == 0.0
    result = saved['state_dict']
    expected = started(tmp_path / 'timm.pth').float().state_dict()
    trained = {name for name in expected if not name.startswith('norm')}
    assert all(torch.equal(result[f'backbone.{name}'], expected[name]) for name in trained)

    torch.save(timm_swin(dict(FOUR, embed_dims=16)).state_dict(), tmp_path / 'large.pth')
    refused = train_here(
        tmp_path / 'swin.py', tmp_path / 'other', '--pretrained', tmp_path / 'large.pth', ok=False
    )
    assert refused.status == 2 and 'large.pth' in refused.output.splitlines()[-1]
