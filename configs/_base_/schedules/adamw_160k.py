# The paper's recipe: AdamW, linear warm-up, then a straight line to 0 over 160,000 iterations.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    # No decay on norms, scales and temperatures; ten times the rate in the head. The longest key that a
    # parameter's name contains decides, so the head's norm is named in full.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={
            'gamma': dict(decay_mult=0.0),
            'temperature': dict(decay_mult=0.0),
            'decode_head': dict(lr_mult=10.0),
            'decode_head.linear_fuse.bn': dict(lr_mult=10.0, decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=160000),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
