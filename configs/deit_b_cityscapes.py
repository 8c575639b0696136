_base_ = './deit_cityscapes.py'
model = dict(
    backbone=dict(model='deit_base_patch16_224'), decode_head=dict(in_channels=[768] * 4, channels=3072)
)
