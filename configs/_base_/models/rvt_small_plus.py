# RVT-S* (position-aware attention scaling in blocks 0 to 4) with the decode head of the plain FAN family: four features
# at stride 16. RVT was published as a classifier; as a segmenter it is this project's. TAP and ADL are off here.
_base_ = './fan_base_hybrid.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='RVT',
        arch='small_plus',
        drop_path_rate=0.1,
        with_cp=False,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
)
