"""Faults in data are found before the first iteration: see :func:`check_dataset` and :func:`check_config`."""

from mmseg_tapadl.datasets.integrity.check import check_config, check_dataset, check_splits
from mmseg_tapadl.datasets.integrity.report import KINDS, DatasetError, Fault, Report, fault_lines

__all__ = [
    'KINDS',
    'DatasetError',
    'Fault',
    'Report',
    'check_config',
    'check_dataset',
    'check_splits',
    'fault_lines',
]
