# A short fine-tuning of a pretrained transformer on a small machine (a recipe of this project): a low rate for the
# encoder, a higher one for the head and for the pooling, which start anew.
_base_ = './adamw_160k.py'
max_iters = 500
optim_wrapper = dict(
    optimizer=dict(lr=3e-5),
    paramwise_cfg=dict(
        _delete_=True,
        norm_decay_mult=0.0,
        custom_keys={
            'gamma': dict(decay_mult=0.0),
            'pos_embed': dict(decay_mult=0.0),
            'cls_token': dict(decay_mult=0.0),
            'reg_token': dict(decay_mult=0.0),
            'decode_head': dict(lr_mult=33.3),
            'dilation_predictor': dict(lr_mult=10.0),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=50, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
