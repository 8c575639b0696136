"""Transforms for mmseg pipelines."""

from mmseg_tapadl.datasets.transforms.checked_loading import (
    CheckedLoadAnnotations,
    CheckedLoadImageFromFile,
    LoadingError,
)
from mmseg_tapadl.datasets.transforms.corrupt_image import CorruptImage
from mmseg_tapadl.datasets.transforms.deep_loading import LoadDeepImageFromFile
from mmseg_tapadl.datasets.transforms.pregenerated_image import TakePregenerated

__all__ = [
    'CheckedLoadAnnotations',
    'CheckedLoadImageFromFile',
    'CorruptImage',
    'LoadDeepImageFromFile',
    'LoadingError',
    'TakePregenerated',
]
