"""Runs one can trust: hooks, sampler, runner, reading and writing of checkpoints, launching.

Importing this package registers all of it with mmseg and makes every entry of mmengine and mmseg read
checkpoints as data (see :mod:`mmseg_tapadl.checkpoints.checkpoint_loader`).
"""

from mmseg_tapadl.checkpoints import whole_file_backend
from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint, write_checkpoint
from mmseg_tapadl.checkpoints.checkpoint_loader import register_loaders, trust_checkpoint
from mmseg_tapadl.engine import any_device_amp
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

register_loaders()

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
    'load_config',
    'read_checkpoint',
    'trust_checkpoint',
    'whole_file_backend',
    'write_checkpoint',
]
