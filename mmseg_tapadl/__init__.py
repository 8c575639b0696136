"""Robust semantic segmentation on MMSegmentation 1.x: TAP and ADL.

Importing the package loads nothing else. ``import mmseg_tapadl.register`` registers all it offers with mmseg's
registries, and ``mmseg_tapadl.layers`` needs torch and timm alone.
"""

from mmseg_tapadl.version import __version__

__all__ = ['__version__']
