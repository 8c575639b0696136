# RVT-Ti*: three features at stride 16 and one at stride 32; position-aware attention scaling in all of the first stage.
_base_ = './rvt_small_plus.py'
model = dict(
    backbone=dict(arch='tiny_plus'),
    decode_head=dict(in_channels=[192, 192, 192, 384]),
)
