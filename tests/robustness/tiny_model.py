"""A small Cityscapes tree, a small model that is not ours, and a sweep over both; also run as a program."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

CONFIG = """
data_root = {root!r}
default_scope = 'mmseg'
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 48), keep_ratio=True),
            dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(type='MixVisionTransformer', embed_dims=16, num_stages=4, num_layers=[1, 1, 1, 1],
                  num_heads=[1, 2, 5, 8], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3)),
    decode_head=dict(type='SegformerHead', in_channels=[16, 32, 80, 128], in_index=[0, 1, 2, 3], channels=16,
                     num_classes=19, norm_cfg=dict(type='SyncBN'), align_corners=False,
                     loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
test_dataloader = dict(batch_size=2, num_workers={workers}, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CityscapesDataset', data_root=data_root, test_mode=True, pipeline=pipeline,
                 data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
"""


def make_tree(root: Path, pictures: int = 5) -> Path:
    """Pictures of 48x64 in two cities, smooth and coloured, with blocks of 19 classes and unlabelled rims."""
    for number in range(pictures):
        city = ('aachen', 'ulm')[number % 2]
        stem = f'{city}/{city}_{number:06d}'
        random = np.random.default_rng(number)
        picture = cv2.GaussianBlur(random.integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 3)
        picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
        labels = np.kron(random.integers(0, 19, (6, 8)), np.ones((8, 8))).astype(np.uint8)
        labels[:3] = 255
        for folder, suffix, array in (
            ('leftImg8bit/val', 'leftImg8bit', picture),
            ('gtFine/val', 'gtFine_labelTrainIds', labels),
        ):
            path = root / folder / f'{stem}_{suffix}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return root


def write_config(path: Path, root: Path, workers: int = 0) -> Path:
    path.write_text(CONFIG.format(root=str(root), workers=workers))
    return path


def write_checkpoint(config: Path, path: Path) -> Path:
    """Random weights whose predictions differ from pixel to pixel."""
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    settings = Config.fromfile(config).model
    settings.decode_head.norm_cfg.type = 'BN'
    model = MODELS.build(settings)
    model.init_weights()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
    torch.save({'state_dict': model.state_dict()}, path)
    return path
