_base_ = './segformer_tap_cityscapes.py'
model = dict(backbone=dict(arch='b0'), decode_head=dict(in_channels=[32, 64, 160, 256]))
