_base_ = './swin_camvid.py'
model = dict(
    backbone=dict(tap=dict(num_branches=4)),
    loss_attention=dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0),
)
