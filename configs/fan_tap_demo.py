_base_ = './fan_demo.py'
model = dict(backbone=dict(tap=dict(num_branches=4)))
