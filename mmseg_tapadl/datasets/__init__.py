"""Data sets, transforms and converters' logic."""

from mmseg_tapadl.utils.quiet_imports import quiet_imports

with quiet_imports():
    from mmseg_tapadl.datasets.acdc import ACDCDataset
    from mmseg_tapadl.datasets.picture_mask_dataset import PictureMaskDataset
    from mmseg_tapadl.datasets.transforms import (
        CheckedLoadAnnotations,
        CorruptImage,
        LoadDeepImageFromFile,
        MappedLoadAnnotations,
        TakePregenerated,
    )

__all__ = [
    'ACDCDataset',
    'CheckedLoadAnnotations',
    'CorruptImage',
    'LoadDeepImageFromFile',
    'MappedLoadAnnotations',
    'PictureMaskDataset',
    'TakePregenerated',
]
