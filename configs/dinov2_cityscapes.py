# DINOv2-S with registers on Cityscapes, a linear head on four levels; the schedule is published, the head and the crop are ours.
_base_ = [
    './_base_/models/timm_vit_linear.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_vit_20k.py',
    './_base_/default_runtime.py',
]
crop_size = (1022, 1022)  # 73 x 73 patches
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale={{_base_.scale}}, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(model='vit_small_patch14_reg4_dinov2'),
    test_cfg=dict(crop_size=crop_size, stride=(770, 770)),
)
