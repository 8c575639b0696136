_base_ = './segformer_adl_cityscapes.py'
model = dict(backbone=dict(arch='b2'))
