# SegFormer-B5 on Cityscapes, its own recipe: 160,000 iterations, crops 1024x1024, one image on each of 8 GPUs.
_base_ = [
    './_base_/models/segformer_mit_b5.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime.py',
]
# No decay on the head's norms; the longest key that a parameter's name contains decides.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'decode_head.convs.0.bn': dict(lr_mult=10.0, decay_mult=0.0),
            'decode_head.convs.1.bn': dict(lr_mult=10.0, decay_mult=0.0),
            'decode_head.convs.2.bn': dict(lr_mult=10.0, decay_mult=0.0),
            'decode_head.convs.3.bn': dict(lr_mult=10.0, decay_mult=0.0),
            'decode_head.fusion_conv.bn': dict(lr_mult=10.0, decay_mult=0.0),
        }
    )
)
