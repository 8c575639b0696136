# Swin-T with SegFormer's light head on CamVid, from random weights: minutes on a CPU.
_base_ = [
    './_base_/models/swin_tiny_segformer_head.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/adamw_short.py',
    './_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(drop_path_rate=0.0),
    test_cfg=dict(_delete_=True, mode='whole'),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'relative_position_bias_table': dict(decay_mult=0.0)}),
)
default_hooks = dict(checkpoint=dict(interval=100))
