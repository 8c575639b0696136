_base_ = './segformer_cityscapes.py'
model = dict(backbone=dict(tap=dict(num_branches=4)))
