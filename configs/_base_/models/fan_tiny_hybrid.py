# FAN-T-Hybrid: the same model at the smallest size.
_base_ = './fan_base_hybrid.py'
model = dict(
    backbone=dict(arch='tiny_hybrid'),
    decode_head=dict(in_channels=[128, 256, 192, 192]),
)
