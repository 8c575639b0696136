"""A person's own data set of five classes and a config for it: a tiny SegFormer of mmseg on our runtime."""

from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ('sky', 'building', 'road', 'car', 'person')
COLOURS = np.random.default_rng(7).integers(0, 256, (256, 3))

_TEXT = """
_base_ = {base!r}
classes = {classes!r}
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(40, 40)),
    backbone=dict(
        type='MixVisionTransformer', embed_dims=8, num_stages=4, num_layers=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1], patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3),
        mlp_ratio=2),
    decode_head=dict(
        type='SegformerHead', in_channels=[8, 8, 8, 8], in_index=[0, 1, 2, 3], channels=8, dropout_ratio=0.0,
        num_classes=5, norm_cfg=norm, align_corners=False, loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(40, 40)), dict(type='PackSegInputs')]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (1.0, 1.5)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
data = dict(type='BaseSegDataset', metainfo=dict(classes=classes), data_root={root!r}, img_suffix='.png')
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='PositionedSampler', shuffle=True),
    dataset=dict(**data, pipeline=train_pipeline,
                 data_prefix=dict(img_path='images/train', seg_map_path='labels/train')))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**data, pipeline=test_pipeline,
                 data_prefix=dict(img_path='images/val', seg_map_path='labels/val')))
test_dataloader = val_dataloader
val_evaluator = dict(type='PreciseIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False, begin=0, end=2)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
"""


def write_config(path: Path, root: Path | str = 'nowhere', changes: str = '') -> Path:
    """Writes the config, and beside it the base that ``changes``, lines of Python, are merged into."""
    runtime = str(ROOT / 'configs/_base_/default_runtime.py')
    base = path.with_name(f'{path.stem}_base.py')
    base.write_text(_TEXT.format(base=runtime, classes=CLASSES, root=str(root)))
    path.write_text(f'_base_ = {str(base)!r}\n{changes}\n')
    return path


def own_config(tmp_path: Path, changes: str = '') -> Config:
    """The config, read; its pictures are nowhere."""
    return Config.fromfile(write_config(tmp_path / 'own.py', changes=changes))


def write_pictures(root: Path, void: int = 255, sizes: tuple[tuple[int, int], ...] = ((64, 48),)) -> Path:
    """Three pictures a split, of the given sizes (width, height) in turn, with a rim of void."""
    for split in ('train', 'val'):
        for number in range(3):
            width, height = sizes[number % len(sizes)]
            random = np.random.default_rng(number)
            blocks = random.integers(0, len(CLASSES), (height // 8 + 1, width // 8 + 1))
            label = np.kron(blocks, np.ones((8, 8), int))[:height, :width].astype(np.uint8)
            picture = COLOURS[label] + random.normal(0, 10, (height, width, 3))
            label[:4] = void
            for kind, pixels in (('images', np.clip(picture, 0, 255).astype(np.uint8)), ('labels', label)):
                path = root / kind / split / f'p{number}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root
