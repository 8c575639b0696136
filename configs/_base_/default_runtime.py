# What every run has. Each guard stands here by its name; set one to None to switch it off, e.g.
# default_hooks = dict(finite_guard=None). docs/reliability.md says what each is for.
custom_imports = dict(imports=['mmseg_tapadl.register'], allow_failed_imports=False)
default_scope = 'mmseg'
runner_type = 'TrustedRunner'  # weights must fit; resume takes the newest whole checkpoint

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    # A line every 50 iterations, or every 10 seconds where those are slow.
    logger=dict(type='SteadyLoggerHook', interval=50, seconds=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Whole or absent: temporary file, fsync, rename, digest. Keeps the last 3 and the best.
    checkpoint=dict(type='WholeCheckpointHook', interval=1000, max_keep_ckpts=3, save_best='mIoU'),
    # Randomness by place in the run; compares the checkpoint's run with today's before going on.
    exact_resume=dict(type='ExactResumeHook'),
    # Stops at a loss that is not finite; never saves weights that are not.
    finite_guard=dict(type='FiniteGuardHook', patience=1),
    # SIGTERM and Ctrl-C save first.
    stop_signal=dict(type='StopSignalHook'),
    # Repeats a validation that a kill cut short.
    missed_validation=dict(type='MissedValidationHook'),
    # One screen about the run before it starts.
    start_summary=dict(type='StartSummaryHook'),
    # Memory stays flat over a long test.
    return_memory=dict(type='ReturnMemoryHook', interval=50),
    # What was measured, in full precision.
    metrics_json=dict(type='MetricsJsonHook'),
)

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
