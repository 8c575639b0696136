_base_ = './dinov2_cityscapes.py'
model = dict(
    backbone=dict(model='vit_base_patch14_reg4_dinov2'),
    decode_head=dict(in_channels=[768] * 4, channels=3072),
)
