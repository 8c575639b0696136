_base_ = './segformer_tap_cityscapes.py'
model = dict(backbone=dict(arch='b2'))
