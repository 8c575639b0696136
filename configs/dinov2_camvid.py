# DINOv2-S on CamVid from its own weights: half an hour on two busy cores. --pretrained FILE names a file of the weights
# (tools/model_converters/img_focus2timm.py writes one); without it timm fetches them.
_base_ = [
    './_base_/models/timm_vit_linear.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/adamw_vit_short.py',
    './_base_/default_runtime.py',
]
crop_size = (224, 224)  # 16 x 16 patches
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale={{_base_.scale}}, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(data_preprocessor=dict(size=crop_size), test_cfg=dict(_delete_=True, mode='whole'))
default_hooks = dict(checkpoint=dict(interval=250))
