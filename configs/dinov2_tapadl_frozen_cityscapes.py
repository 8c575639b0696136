# TAP and ADL as an adapter: the encoder's own weights stay, pooling and head are trained.
_base_ = './dinov2_tapadl_cityscapes.py'
model = dict(backbone=dict(frozen=True))
