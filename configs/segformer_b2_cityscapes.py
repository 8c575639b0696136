_base_ = './segformer_cityscapes.py'
model = dict(backbone=dict(arch='b2'))
