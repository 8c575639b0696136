"""Transforms for mmseg pipelines."""

from mmseg_tapadl.datasets.transforms.corrupt_image import CorruptImage
from mmseg_tapadl.datasets.transforms.deep_loading import LoadDeepImageFromFile
from mmseg_tapadl.datasets.transforms.former_names import CheckedLoadAnnotations
from mmseg_tapadl.datasets.transforms.mapped_annotations import MappedLoadAnnotations
from mmseg_tapadl.datasets.transforms.pregenerated_image import TakePregenerated

__all__ = [
    'CheckedLoadAnnotations',
    'CorruptImage',
    'LoadDeepImageFromFile',
    'MappedLoadAnnotations',
    'TakePregenerated',
]
