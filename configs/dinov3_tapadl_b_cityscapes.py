_base_ = './dinov3_tapadl_cityscapes.py'
model = dict(
    backbone=dict(model='vit_base_patch16_dinov3'), decode_head=dict(in_channels=[768] * 4, channels=3072)
)
