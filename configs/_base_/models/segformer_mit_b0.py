# SegFormer-B0: the same model at the smallest size.
_base_ = './segformer_mit_b5.py'
model = dict(backbone=dict(arch='b0'), decode_head=dict(in_channels=[32, 64, 160, 256]))
