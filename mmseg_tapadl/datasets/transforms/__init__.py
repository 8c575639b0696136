"""Transforms for mmseg pipelines."""

from mmseg_tapadl.datasets.transforms.corrupt_image import CorruptImage
from mmseg_tapadl.datasets.transforms.pregenerated_image import TakePregenerated

__all__ = ['CorruptImage', 'TakePregenerated']
