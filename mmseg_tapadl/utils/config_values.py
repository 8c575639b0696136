"""Configs as plain values: a digest of what matters in one, and what differs between two."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NEUTRAL_KEYS = frozenset(
    {
        'work_dir',
        'launcher',
        'resume',
        'load_from',
        'num_workers',
        'persistent_workers',
        'prefetch_factor',
        'pin_memory',
        'described_in',
    }
)
"""Keys that change how a run goes, at whatever depth they stand, but not what comes out of it."""

ABSENT = 'not set'
_SHOWN = 120


def without_neutral(value: Any) -> Any:
    """A copy of a config's dict in which no key of :data:`NEUTRAL_KEYS` is left."""
    if isinstance(value, dict):
        return {key: without_neutral(item) for key, item in value.items() if key not in NEUTRAL_KEYS}
    if isinstance(value, (list, tuple)):
        return [without_neutral(item) for item in value]
    return value


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON; objects that JSON does not know count by their ``repr``."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode('utf-8')).hexdigest()


def plain_values(value: Any) -> Any:
    """A copy made of dicts, lists, numbers, texts and None only, so that a file can hold it and two can be compared.

    Tuples and sets become lists, classes and functions their names, arrays lists, other objects the names of their
    classes.
    """
    if isinstance(value, dict):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain_values(item) for item in value), key=repr)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if callable(getattr(value, 'tolist', None)):  # numpy and torch, not imported here
        return plain_values(value.tolist())
    if hasattr(value, '__fspath__'):
        return str(value)
    named = value if hasattr(value, '__qualname__') else type(value)
    return f'{named.__module__}.{named.__qualname__}'


@dataclass(frozen=True)
class Change:
    """One value of a config that differs.

    Attributes:
        key: Where it stands, as ``--cfg-options`` names it (``model.backbone.drop_path_rate``, ``pipeline.2.prob``).
        before: The older value, :data:`ABSENT` where there was none.
        now: The newer value, or :data:`ABSENT`.
    """

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f'{self.key}: {_short(self.before)} when saved, {_short(self.now)} now'


def changes_between(before: Any, now: Any, key: str = '') -> Iterator[Change]:
    """The places where two configs differ, as far down as they can be told apart.

    Args:
        before: The older one, of :func:`plain_values`.
        now: The newer one.
        key: Where both stand in the whole.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            place = f'{key}.{name}' if key else name
            yield from changes_between(before.get(name, ABSENT), now.get(name, ABSENT), place)
    elif isinstance(before, list) and isinstance(now, list) and _same_steps(before, now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from changes_between(*pair, f'{key}.{index}')
    elif not _equal(before, now, is_type=key.rpartition('.')[2] == 'type'):
        yield Change(key, before, now)


def _same_steps(before: list, now: list) -> bool:
    """Whether two lists of parts (transforms, schedulers) hold the same kinds of parts in the same order."""
    kinds = [[part.get('type') for part in parts if isinstance(part, dict)] for parts in (before, now)]
    nested = any(isinstance(part, (dict, list)) for part in before)
    return nested and len(before) == len(now) and kinds[0] == kinds[1]


def _equal(before: Any, now: Any, *, is_type: bool) -> bool:
    if is_type and isinstance(before, str) and isinstance(now, str):
        # 'mmseg.FANHead' names what 'FANHead' does.
        return before.rpartition('.')[2] == now.rpartition('.')[2]
    both_nan = all(isinstance(value, float) and math.isnan(value) for value in (before, now))
    return both_nan or before == now


def _short(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(part, dict) and 'type' in part for part in value):
        value = f'{len(value)} steps ({", ".join(str(part["type"]) for part in value)})'
    text = ' '.join(str(value).split())
    return text if len(text) <= _SHOWN else f'{text[: _SHOWN - 3]}...'
