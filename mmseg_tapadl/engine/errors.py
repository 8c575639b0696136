"""The reason to end a run that only a run has; the others are in :mod:`mmseg_tapadl.utils.errors`."""

from mmseg_tapadl.utils import InputError


class RunMismatchError(InputError):
    """A checkpoint and today's config or data do not belong together."""
