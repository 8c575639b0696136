"""What a device likes: how much at a time, what to compute again, in which type to multiply.

The layers ask :func:`budget_for` where they run; nothing else decides it. Every choice gives the same function:
only memory, time and the order in which sums are rounded differ.
"""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch

from mmseg_tapadl.utils.arguments import did_you_mean
from mmseg_tapadl.utils.errors import InputError

VARIABLE = 'TAPADL_BUDGET'
"""Environment variable with changes for every device: ``recompute=false,attention_block_bytes=4000000``."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The choices for one kind of device.

    Attributes:
        attention_block_bytes: Size of the attention of one block of queries, over all heads. A processor wants it
            near its cache, but not so small that adding a block's share to the gradients of k and v outweighs the
            rest; a GPU wants enough work for each kernel.
        half_products: Whether matrix products inside watched attention take factors in half types as they are,
            where matrix units make that worth the conversions; otherwise in float32.
        recompute: Whether what is large and cheap (depthwise convolutions, activations, the norm before the
            classifier) is computed again in the backward pass instead of kept.
        pooling_channels: Channels that token-aware pooling takes at a time; ``None`` is all, here and below.
        upsampling_channels: Channels upsampled and added at a time.
        classifier_channels: Channels that go through norm, activation and classifier at a time.
        hidden_channels: Hidden channels of FAN's MLP at a time where no gradient is asked for.
        stem_pixels: Pixels of the hybrid stem's MLP at a time where no gradient is asked for, in whole rows.
        windows: Windows of a sliding window that go through the model together.
        attention_block_rows: Queries that a block of attention has at least, whatever its size: each block adds its
            share to the gradients of all keys and values, which has to pay.
        attention_group_bytes: Size of the attention of small batch entries (windows) that are computed together.
        attention_heads_per_thread: Heads of a large block that are worked on at a time, for each thread, so that
            they stay in the caches of its core.

    Raises:
        InputError: A number below 1, or a value of another kind than its field.
    """

    attention_block_bytes: int
    half_products: bool
    recompute: bool
    pooling_channels: int | None
    upsampling_channels: int | None
    classifier_channels: int | None
    hidden_channels: int | None
    stem_pixels: int | None
    windows: int
    attention_block_rows: int
    attention_group_bytes: int
    attention_heads_per_thread: int | None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is bool:
                if not isinstance(value, bool):
                    raise InputError(f'budget {field.name}={value!r}: it must be true or false')
                continue
            may_be_all = field.type is not int
            is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not is_number and not (may_be_all and value is None):
                or_all = ', or None for all at once' if may_be_all else ''
                raise InputError(
                    f'budget {field.name}={value!r}: it must be a whole number, 1 or more{or_all}'
                )

    def changed(self, **changes: Any) -> 'Budget':
        """This budget with other values for some fields.

        Raises:
            InputError: A field that there is not, or a value it cannot have.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(f"a budget has no field '{name}'{hint}; valid: {', '.join(known)}")
        return dataclasses.replace(self, **changes)


CPU = Budget(
    attention_block_bytes=8 << 20,
    half_products=False,  # elementwise passes take most of the time, and they are in float32 in any case
    recompute=True,
    pooling_channels=256,
    upsampling_channels=32,
    classifier_channels=32,
    hidden_channels=512,
    stem_pixels=4096,
    windows=1,  # several take as long as one by one, and more memory
    attention_block_rows=128,
    attention_group_bytes=2 << 20,
    attention_heads_per_thread=1,
)
# Chosen from sizes, not measured: fewer and larger kernels, and the memory of a training step as on a processor.
CUDA = Budget(
    attention_block_bytes=128 << 20,
    half_products=True,
    recompute=True,
    pooling_channels=None,
    upsampling_channels=256,
    classifier_channels=256,
    hidden_channels=None,
    stem_pixels=None,
    windows=4,
    attention_block_rows=1,
    attention_group_bytes=128 << 20,
    attention_heads_per_thread=None,
)
OTHER = CUDA.changed(half_products=False, windows=1)

_changed: dict[str, Budget] = {}


def budget_for(device: torch.device | str) -> Budget:
    """The budget of a device: that of :func:`use_budget` if one is in use, else its own with ``TAPADL_BUDGET``.

    Raises:
        InputError: ``TAPADL_BUDGET`` names a field that there is not, or a value it cannot have.
    """
    kind = torch.device(device).type
    if kind in _changed:
        return _changed[kind]
    budget = {'cpu': CPU, 'cuda': CUDA}.get(kind, OTHER)
    text = os.environ.get(VARIABLE)
    if not text:
        return budget
    try:
        return budget.changed(**changes_from_text(text))
    except InputError as error:
        raise InputError(f'{VARIABLE}: {error}') from None


@contextmanager
def use_budget(device: torch.device | str, **changes: Any) -> Iterator[Budget]:
    """Changes fields of a device's budget meanwhile, in the whole process: a backward pass may run in other threads.

    Raises:
        InputError: A field that there is not, or a value it cannot have.
    """
    kind = torch.device(device).type
    before = _changed.get(kind)
    _changed[kind] = budget_for(kind).changed(**changes)
    try:
        yield _changed[kind]
    finally:
        if before is None:
            del _changed[kind]
        else:
            _changed[kind] = before


def changes_from_text(text: str) -> dict[str, Any]:
    """Reads ``field=value,field=value``, where a value is a whole number, ``true``, ``false`` or ``none``."""
    words = {'true': True, 'false': False, 'none': None}
    changes: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(','))):
        name, equals, value = (piece.strip() for piece in part.partition('='))
        if not equals:
            raise InputError(f"'{part}' is not field=value")
        try:
            changes[name] = words[value.lower()] if value.lower() in words else int(value)
        except ValueError:
            changes[name] = value  # no field takes a text: its check names both
    return changes


def even_ranges(total: int, at_once: int | None) -> Iterator[slice]:
    """Splits ``range(total)`` into ranges of at most ``at_once``, as even as can be."""
    parts = 1 if at_once is None else -(-total // at_once)
    step = -(-total // max(parts, 1))
    for start in range(0, total, step or 1):
        yield slice(start, min(start + step, total))
