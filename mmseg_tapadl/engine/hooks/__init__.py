"""The guards of a run; each is named in ``configs/_base_/default_runtime.py`` and can be left out there."""

from mmseg_tapadl.engine.hooks.exact_resume_hook import ExactResumeHook
from mmseg_tapadl.engine.hooks.finite_guard_hook import FiniteGuardHook
from mmseg_tapadl.engine.hooks.metrics_json_hook import MetricsJsonHook
from mmseg_tapadl.engine.hooks.missed_validation_hook import MissedValidationHook
from mmseg_tapadl.engine.hooks.return_memory_hook import ReturnMemoryHook
from mmseg_tapadl.engine.hooks.save_predictions_hook import SaveLabelsHook, SaveOverlaysHook
from mmseg_tapadl.engine.hooks.start_summary_hook import StartSummaryHook
from mmseg_tapadl.engine.hooks.steady_logger_hook import SteadyLoggerHook
from mmseg_tapadl.engine.hooks.stop_signal_hook import StopSignalHook
from mmseg_tapadl.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'ExactResumeHook',
    'FiniteGuardHook',
    'MetricsJsonHook',
    'MissedValidationHook',
    'ReturnMemoryHook',
    'SaveLabelsHook',
    'SaveOverlaysHook',
    'StartSummaryHook',
    'SteadyLoggerHook',
    'StopSignalHook',
    'WholeCheckpointHook',
]
