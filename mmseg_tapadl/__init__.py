"""Robust semantic segmentation on MMSegmentation 1.x: TAP and ADL.

Importing the package registers everything it offers with mmseg's registries; a config asks for that by
``custom_imports = dict(imports=['mmseg_tapadl'], allow_failed_imports=False)``.
"""

import contextlib
import io
import warnings

from mmseg_tapadl.version import __version__

# While they are imported, mmseg and mmcv print and warn about optional parts that are absent and not needed.
with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    from mmseg_tapadl import datasets, engine, evaluation, models

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
