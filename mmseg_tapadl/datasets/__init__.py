"""Data sets, transforms, the demo city and converters' logic."""

from mmseg_tapadl.datasets.acdc import ACDCDataset
from mmseg_tapadl.datasets.transforms import (
    CheckedLoadAnnotations,
    CheckedLoadImageFromFile,
    CorruptImage,
    TakePregenerated,
)

__all__ = [
    'ACDCDataset',
    'CheckedLoadAnnotations',
    'CheckedLoadImageFromFile',
    'CorruptImage',
    'TakePregenerated',
]
