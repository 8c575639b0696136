"""Metrics by condition, robustness presets and scores, the submission to ACDC's server."""

from mmseg_tapadl.utils.quiet_imports import quiet_imports

with quiet_imports():
    from mmseg_tapadl.evaluation.acdc_submission import ACDCSubmission
    from mmseg_tapadl.evaluation.condition_iou_metric import ConditionIoUMetric
    from mmseg_tapadl.evaluation.iou_metric import PreciseIoUMetric

__all__ = ['ACDCSubmission', 'ConditionIoUMetric', 'PreciseIoUMetric']
