"""One fact in one place: what a config and a checkpoint say twice is compared before anything starts."""

from mmseg_tapadl.utils.quiet_imports import quiet_imports

with quiet_imports():
    import mmseg.models  # noqa: F401  mmcv speaks up on first import

from mmseg_tapadl.agreement.check import DisagreementError, check_agreement
from mmseg_tapadl.agreement.class_names import ClassesDifferError, check_same_classes
from mmseg_tapadl.agreement.void_id import scored_void, void_source

__all__ = [
    'ClassesDifferError',
    'DisagreementError',
    'check_agreement',
    'check_same_classes',
    'scored_void',
    'void_source',
]
