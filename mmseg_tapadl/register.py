"""Registers all that the package offers with mmseg's registries and mmengine's file backends.

A config asks for it by ``custom_imports = dict(imports=['mmseg_tapadl.register'], allow_failed_imports=False)``;
the tools and the functions that take a config import it themselves. It replaces nothing that others registered.
"""

from mmengine.fileio import register_backend

from mmseg_tapadl import datasets, engine, evaluation, models
from mmseg_tapadl.checkpoints.whole_file_backend import WholeFileBackend

register_backend('whole_file', WholeFileBackend, force=True)

__all__ = ['datasets', 'engine', 'evaluation', 'models']
