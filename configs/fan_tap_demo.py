_base_ = './fan_demo.py'
model = dict(backbone=dict(tap=dict(_delete_=True, num_branches=4)))
