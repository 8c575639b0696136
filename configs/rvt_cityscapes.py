# RVT-S* on Cityscapes with the paper's recipe for FAN. RVT-B*: model.backbone.arch=base_plus and
# model.decode_head.in_channels=768,768,768,768.
_base_ = [
    './_base_/models/rvt_small_plus.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime.py',
]
