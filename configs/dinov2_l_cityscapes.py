_base_ = './dinov2_cityscapes.py'
model = dict(
    backbone=dict(model='vit_large_patch14_reg4_dinov2'),
    decode_head=dict(in_channels=[1024] * 4, channels=4096),
)
