"""A person's own data set and a tiny model for it: eleven classes, told by the config alone."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CLASSES = tuple(f'kind {number}' for number in range(11))

_CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['mmseg_tapadl.register'], allow_failed_imports=False)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(type='MixVisionTransformer', embed_dims=8, num_stages=4, num_layers=[1, 1, 1, 1],
                  num_heads=[1, 2, 4, 8], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3)),
    decode_head=dict(type='SegformerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=8,
                     num_classes=11, norm_cfg=dict(type='BN'), align_corners=False,
                     loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root={root!r}, img_suffix='.png', seg_map_suffix='.png', pipeline=test_pipeline,
        metainfo=dict(classes={classes!r}), data_prefix=dict(img_path='images', seg_map_path='labels')))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
"""


def write_config(path: Path, root: Path) -> Path:
    """Writes the config; returns ``path``."""
    base = str(ROOT / 'configs/_base_/default_runtime.py')
    path.write_text(_CONFIG.format(base=base, root=str(root), classes=CLASSES))
    return path


def picture(number: int) -> Image.Image:
    """Smooth colours, 40x32, another for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((40, 32), Image.Resampling.BICUBIC)


def write_pair(root: Path, name: str, number: int) -> Path:
    """Writes ``images/<name>`` and its label; returns the picture's path."""
    for kind, image in (
        ('images', picture(number)),
        ('labels', Image.fromarray(np.full((32, 40), number % 11, np.uint8))),
    ):
        path = root / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return root / 'images' / name


def write_weights(config: Path, path: Path) -> Path:
    """Random weights, bare, whose predictions differ from pixel to pixel."""
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    torch.save(model.state_dict(), path)
    return path
