_base_ = './segformer_tapadl_cityscapes.py'
model = dict(backbone=dict(arch='b2'))
