# Fine-tuning a pretrained vision transformer whole, as published by Kerssies et al. (arXiv 2404.12172, their code:
# tue-mps/benchmark-vfm-ss): AdamW at 1e-4, a tenth of it in the encoder, decay 0.05, a polynomial of power 0.9 to 0 over
# 20,000 iterations, 16 pictures an update (here it is 1 a process: docs/training.md). The full rate for TAP, which starts anew, and no decay on positions and tokens are ours.
_base_ = './adamw_160k.py'
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        _delete_=True,
        norm_decay_mult=0.0,
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'backbone.model.pos_embed': dict(lr_mult=0.1, decay_mult=0.0),
            'backbone.model.cls_token': dict(lr_mult=0.1, decay_mult=0.0),
            'backbone.model.reg_token': dict(lr_mult=0.1, decay_mult=0.0),
            'dilation_predictor': dict(lr_mult=1.0),
        },
    ),
)
param_scheduler = [
    dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=0, end=20000),
]
train_cfg = dict(max_iters=20000, val_interval=2000)
