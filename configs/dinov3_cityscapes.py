# DINOv3-S (weights under the DINOv3 licence) on Cityscapes, a linear head on four levels; the schedule is published, the head and the crop are ours.
_base_ = [
    './_base_/models/timm_vit_linear.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_vit_20k.py',
    './_base_/default_runtime.py',
]
model = dict(backbone=dict(model='vit_small_patch16_dinov3'))
