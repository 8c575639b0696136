"""The option ``tap`` that every encoder with token-aware average pooling has."""

from collections.abc import Mapping
from typing import Any

from mmseg_tapadl.utils.errors import InputError


def num_tap_branches(tap: Mapping[str, Any] | None) -> int | None:
    """Reads ``tap``: ``None`` (no pooling) or ``dict(num_branches=K)``, K >= 1, 4 unless given.

    ``_delete_`` is passed over: mmengine leaves it in where the base config has no ``tap`` to replace.

    Raises:
        InputError: No dict, another key, or a K that is not a positive whole number.
    """
    if tap is None:
        return None
    if not isinstance(tap, Mapping):
        raise InputError(f'tap={tap!r}: give dict(num_branches=4), or None for no pooling')
    unknown = set(tap) - {'num_branches', '_delete_'}
    if unknown:
        raise InputError(f'tap has no option {", ".join(sorted(unknown))}; valid: num_branches')
    num_branches = tap.get('num_branches', 4)
    if not isinstance(num_branches, int) or isinstance(num_branches, bool) or num_branches < 1:
        raise InputError(f'tap.num_branches={num_branches!r}: it must be a whole number, 1 or more')
    return num_branches
