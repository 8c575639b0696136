# FAN-B-Hybrid on Cityscapes, the paper's recipe: 160,000 iterations, crops 1024x1024, one image per GPU.
_base_ = [
    './_base_/models/fan_base_hybrid.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime.py',
]
