"""A run small enough for tests: a tiny SegFormer on 12 generated pictures, through the real command lines."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

_CONFIG = """
_base_ = {base!r}
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(64, 64)),
    backbone=dict(
        type='MixVisionTransformer', in_channels=3, embed_dims=16, num_stages=4, num_layers=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8], patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3),
        mlp_ratio=2, qkv_bias=True, drop_rate=0.1, attn_drop_rate=0.0, drop_path_rate=0.1, with_cp=False),
    decode_head=dict(
        type='SegformerHead', in_channels=[16, 32, 64, 128], in_index=[0, 1, 2, 3], channels=32,
        dropout_ratio=0.1, num_classes=19, norm_cfg=norm, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(128, 64), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(128, 64), keep_ratio=True),
    dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (1.0, 1.5)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
data = dict(type='CityscapesDataset', data_root={data!r})
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=True, sampler=dict(type='PositionedSampler', shuffle=True),
    dataset=dict(**data, pipeline=train_pipeline,
                 data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train')))
val_dataloader = dict(
    batch_size=1, num_workers=0, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**data, pipeline=test_pipeline,
                 data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')))
test_dataloader = val_dataloader
val_evaluator = dict(type='PreciseIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=3),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=3, end={iters})]
train_cfg = dict(type='IterBasedTrainLoop', max_iters={iters}, val_interval={iters})
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=3), logger=dict(interval=1))
"""


def write_pictures(root: Path, train: int = 12, val: int = 5, size: tuple[int, int] = (128, 64)) -> Path:
    """Paints a data set in Cityscapes layout: blocks of colour, each class with its own; returns ``root``."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (19, 3))
    for split, count in (('train', train), ('val', val)):
        for number in range(count):
            labels = np.kron(rng.integers(0, 19, (4, 8)), np.ones((size[1] // 4, size[0] // 8), int)).astype(
                np.uint8
            )
            image = np.clip(colours[labels] + rng.normal(0, 10, (*labels.shape, 3)), 0, 255).astype(np.uint8)
            for kind, suffix, array in (
                ('leftImg8bit', 'leftImg8bit', image),
                ('gtFine', 'gtFine_labelTrainIds', labels),
            ):
                path = root / kind / split / 'town' / f'town_{number:06d}_000000_{suffix}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root


def write_config(path: Path, data: Path, iters: int = 8) -> Path:
    """Writes the tiny run's config, on top of the real ``default_runtime.py``; returns ``path``."""
    base = str(ROOT / 'configs/_base_/default_runtime.py')
    path.write_text(_CONFIG.format(base=base, data=str(data), iters=iters))
    return path


def run_train(config: Path, work_dir: Path, *args: str, ok: bool = True) -> subprocess.CompletedProcess:
    """Runs ``tools/train.py`` and, with ``ok``, expects exit status 0."""
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(work_dir), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=work_dir.parent)
    assert done.returncode == 0 or not ok, f'{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
    return done


def signal_at(
    config: Path, work_dir: Path, file: str, number: signal.Signals, *args: str
) -> subprocess.Popen:
    """Starts a training and sends it a signal as soon as ``file`` appears in its work dir; waits for its end."""
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(work_dir), *args]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
        cwd=work_dir.parent,
    )
    end = time.monotonic() + 120
    while not (work_dir / file).exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(number)
    process.wait(60)
    return process
