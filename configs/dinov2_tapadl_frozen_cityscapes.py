# TAP and ADL as an adapter: the encoder's own weights stay, pooling and head are trained. The recipe is ours: the schedule
# was published for training whole encoders, and nobody has published one for this.
_base_ = './dinov2_tapadl_cityscapes.py'
model = dict(backbone=dict(frozen=True))
