_base_ = './segformer_cityscapes.py'
model = dict(
    backbone=dict(tap=dict(_delete_=True, num_branches=4)),
    loss_attention=dict(_delete_=True, type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0),
)
