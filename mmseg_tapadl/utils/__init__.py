"""Helpers that need the standard library only; every room may use them."""

from mmseg_tapadl.utils.errors import DiskFullError, InputError, NotFiniteError, RunStopped, SampleError
from mmseg_tapadl.utils.files import atomic_write, sha256_of, sync_folder, temporary_beside, write_json
from mmseg_tapadl.utils.text import first_few, shown

__all__ = [
    'DiskFullError',
    'InputError',
    'NotFiniteError',
    'RunStopped',
    'SampleError',
    'atomic_write',
    'first_few',
    'sha256_of',
    'shown',
    'sync_folder',
    'temporary_beside',
    'write_json',
]
