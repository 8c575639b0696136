# FAN-B-Hybrid with the released decode head. TAP and ADL are off here; the experiments switch them on.
_base_ = './encoder_decoder.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(
        type='FAN',
        arch='base_hybrid',
        drop_path_rate=0.1,
        with_cp=False,
        out_indices=(0, 1, 2, 3),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='FANHead',
        in_channels=[128, 256, 448, 448],
        in_index=[0, 1, 2, 3],
        channels=768,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
