# A vision transformer of timm with a linear head on four levels (mmseg's FCNHead without convolutions): the features,
# normed by the encoder's own last norm, side by side, and one 1x1 convolution. Which model, the experiments say.
# Pictures are normalised as its weights expect. TAP and ADL are off here; the experiments switch them on.
_base_ = './encoder_decoder.py'
model = dict(
    data_preprocessor=dict(mean='encoder', std='encoder'),
    backbone=dict(
        type='TimmViT',
        model='vit_small_patch14_dinov2',
        pretrained=True,  # fetched through timm; --pretrained FILE takes a file in its place
        final_norm=True,
        drop_path_rate=0.0,
        with_cp=False,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    decode_head=dict(
        type='FCNHead',
        num_convs=0,
        concat_input=False,
        in_channels=[384, 384, 384, 384],
        in_index=[0, 1, 2, 3],
        input_transform='resize_concat',
        channels=1536,
        dropout_ratio=0.0,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
