_base_ = './dinov3_cityscapes.py'
model = dict(
    backbone=dict(model='vit_large_patch16_dinov3'), decode_head=dict(in_channels=[1024] * 4, channels=4096)
)
