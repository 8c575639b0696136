"""Small models of several encoders on small pictures of a Cityscapes tree, for the attention report."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmseg.datasets import CityscapesDataset
from torch import nn

from mmseg_tapadl.layers import WatchableAttention
from tests.models.builders import TINY_ARCH

CONFIG = """
custom_imports = dict(imports=['mmseg_tapadl.register'], allow_failed_imports=False)
default_scope = 'mmseg'
data_root = {root!r}
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale={scale}, keep_ratio=True),
                 dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
model = dict(
    type='AttentionEncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone={backbone!r},
    decode_head=dict(type='FCNHead', in_channels={channels}, in_index=0, channels=8, num_convs=1, num_classes=19,
                     norm_cfg=dict(type='BN'), align_corners=False),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
test_dataloader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CityscapesDataset', data_root=data_root, test_mode=True, pipeline=test_pipeline,
                 data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
"""

FAN = dict(type='FAN', arch=TINY_ARCH, tap=dict(num_branches=3), out_indices=(3,))
VIT = dict(type='TimmViT', model='test_vit', out_indices=(2,))
SWIN = dict(
    type='TAPSwin', arch=dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), window_size=4), out_indices=(1,)
)
BACKBONES: dict[str, tuple[dict[str, Any], int]] = {
    'fan': (FAN, 32),
    'fan_base': ({**FAN, 'tap': None}, 32),
    'vit': (VIT, 64),
    'swin': (SWIN, 16),
}


def write_model(folder: Path, name: str, root: Path, *, scale: tuple[int, int] = (96, 72)) -> tuple[str, str]:
    """Writes NAME.py and NAME.pth, whose attention is sharp; returns both paths."""
    backbone, channels = BACKBONES[name]
    config = folder / f'{name}.py'
    config.write_text(CONFIG.format(root=str(root), backbone=backbone, channels=channels, scale=scale))
    checkpoint = folder / f'{name}.pth'
    named = {
        'classes': CityscapesDataset.METAINFO['classes'],
        'palette': CityscapesDataset.METAINFO['palette'],
    }
    torch.save({'state_dict': sharp_model(config).state_dict(), 'meta': {'dataset_meta': named}}, checkpoint)
    return str(config), str(checkpoint)


def sharp_model(config: Path) -> nn.Module:
    """Random weights whose attention is sharp in the file, too: queries are scaled by their projections."""
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    import mmseg_tapadl.register  # noqa: F401

    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model).eval()
    for name, parameter in model.backbone.named_parameters():
        if name.endswith(('attn.q.weight', 'qkv.weight')):
            parameter.data *= 200 if name.endswith('q.weight') else 12
    nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
    assert any(isinstance(module, WatchableAttention) for module in model.modules())
    return model
