_base_ = './rvt_camvid.py'
model = dict(backbone=dict(tap=dict(num_branches=4)))
