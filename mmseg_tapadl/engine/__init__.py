"""Runs one can trust: hooks, sampler, runner, launching; with the reading and writing of checkpoints at hand."""

from mmseg_tapadl.utils.quiet_imports import quiet_imports

with quiet_imports():
    from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint, write_checkpoint
    from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers, trust_checkpoint
    from mmseg_tapadl.engine import any_device_amp, layer_decay
    from mmseg_tapadl.engine.config import ConfigError, load_config
    from mmseg_tapadl.engine.hooks import (
        ExactResumeHook,
        FiniteGuardHook,
        MetricsJsonHook,
        StartSummaryHook,
        StopSignalHook,
        WholeCheckpointHook,
    )
    from mmseg_tapadl.engine.repeatable.positioned_sampler import PositionedSampler
    from mmseg_tapadl.engine.runner import TrustedRunner

__all__ = [
    'CheckpointError',
    'ConfigError',
    'ExactResumeHook',
    'FiniteGuardHook',
    'MetricsJsonHook',
    'PositionedSampler',
    'StartSummaryHook',
    'StopSignalHook',
    'TrustedRunner',
    'WholeCheckpointHook',
    'any_device_amp',
    'layer_decay',
    'load_config',
    'plain_readers',
    'read_checkpoint',
    'trust_checkpoint',
    'write_checkpoint',
]
