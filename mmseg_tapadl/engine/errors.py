"""Reasons to end a run that only a run has; the others are in :mod:`mmseg_tapadl.utils.errors`."""

from mmseg_tapadl.utils.errors import InputError, NotFiniteError, RunStopped

__all__ = ['NotFiniteError', 'RunMismatchError', 'RunStopped', 'SampleError']


class RunMismatchError(InputError):
    """A checkpoint and today's config or data do not belong together."""


class SampleError(InputError):
    """A picture or its label cannot be used; the message names both files."""
