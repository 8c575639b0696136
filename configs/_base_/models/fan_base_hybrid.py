# FAN-B-Hybrid with the released decode head. TAP and ADL are off here; the experiments switch them on.
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='AttentionEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(1024, 1024),
    ),
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
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(768, 768)),
)
