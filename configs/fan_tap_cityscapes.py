_base_ = './fan_cityscapes.py'
model = dict(backbone=dict(tap=dict(num_branches=4)))
