_base_ = './swin_camvid.py'
model = dict(backbone=dict(tap=dict(num_branches=4)))
