"""Robust semantic segmentation on MMSegmentation 1.x: TAP and ADL.

Importing the package registers everything it offers with mmseg's registries; a config asks for that by
``custom_imports = dict(imports=['mmseg_tapadl'], allow_failed_imports=False)``.
"""

from mmseg_tapadl import datasets, engine, evaluation, models
from mmseg_tapadl.version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
