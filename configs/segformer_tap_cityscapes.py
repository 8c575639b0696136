_base_ = './segformer_cityscapes.py'
model = dict(backbone=dict(tap=dict(_delete_=True, num_branches=4)))
