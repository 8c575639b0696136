# SegFormer-B0 with TAP and ADL, fine-tuned on few pictures of any size: start it with --data and --init-from.
_base_ = [
    './_base_/models/segformer_mit_b0.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/finetune_2k.py',
    './_base_/default_runtime.py',
]
crop_size = (512, 512)
# Scaled by a factor of the picture's own size, as nothing is known of it.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='Resize', scale_factor=factor, keep_ratio=True)] for factor in (0.75, 1.0, 1.25, 1.5)
        ],
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(tap=dict(num_branches=4)),
    test_cfg=dict(_delete_=True, mode='whole'),
    loss_attention=dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0),
)
default_hooks = dict(checkpoint=dict(interval=200))
