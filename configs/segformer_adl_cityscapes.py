_base_ = './segformer_cityscapes.py'
model = dict(
    loss_attention=dict(_delete_=True, type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0)
)
