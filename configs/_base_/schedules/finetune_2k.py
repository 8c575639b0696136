# Fine-tuning a trained segmenter on some tens to hundreds of pictures (a recipe of this project): 2,000 iterations at the
# paper's rate, a short warm-up, ten times the rate in the head and in TAP where either starts anew. It validates every
# 200 iterations and keeps the best weights; docs/finetuning.md tells how to stop early, weigh classes and mine hard pixels.
_base_ = './adamw_160k.py'
max_iters = 2000
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'dilation_predictor': dict(lr_mult=10.0),
            'pos_embed': dict(decay_mult=0.0),
            'cls_token': dict(decay_mult=0.0),
            'reg_token': dict(decay_mult=0.0),
        }
    )
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=200)
