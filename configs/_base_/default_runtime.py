# What every run has. Each guard stands here by its name: set one to None (default_hooks) or leave it out of
# custom_hooks to switch it off. docs/reliability.md says what each is for.
custom_imports = dict(imports=['mmseg_tapadl'], allow_failed_imports=False)
default_scope = 'mmseg'
runner_type = 'TrustedRunner'  # weights must fit, resume takes the newest whole checkpoint

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Whole or absent: temporary file, fsync, rename, digest; keeps 3 and the best.
    checkpoint=dict(type='WholeCheckpointHook', interval=1000, max_keep_ckpts=3, save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='ExactResumeHook'),  # randomness by place in the run; compares before going on
    dict(type='FiniteGuardHook', patience=1),  # stops at a loss that is not finite, never saves such weights
    dict(type='StopSignalHook'),  # SIGTERM and Ctrl-C save, then leave
    dict(type='StartSummaryHook'),  # one screen about the run
    dict(type='MetricsJsonHook'),  # what was measured, in full precision
]

randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
