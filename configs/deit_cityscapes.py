# DeiT-S on Cityscapes, a linear head on four levels; the schedule is published, the head and the crop are ours.
_base_ = [
    './_base_/models/timm_vit_linear.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_vit_20k.py',
    './_base_/default_runtime.py',
]
model = dict(backbone=dict(model='deit_small_patch16_224'))
