_base_ = './fan_demo.py'
model = dict(
    loss_attention=dict(_delete_=True, type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0)
)
