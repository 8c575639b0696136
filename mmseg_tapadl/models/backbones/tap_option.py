"""The option ``tap`` that every encoder with token-aware average pooling has."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmseg_tapadl.layers.local_aggregation import KINDS, local_aggregation
from mmseg_tapadl.utils.arguments import did_you_mean
from mmseg_tapadl.utils.errors import InputError

_TAP = 'tap'
_OPTIONS = {_TAP: ('num_branches', 4), **dict.fromkeys(KINDS, ('kernel_size', 3))}


def num_tap_branches(tap: Mapping[str, Any] | None) -> int | None:
    """Reads ``tap``: K of token-aware average pooling, ``None`` for none of it.

    ``dict(num_branches=K)`` (K >= 1, 4 unless given) is the paper's pooling, ``type='tap'``. What the paper compares it with,
    :func:`put_aggregation` puts there: ``dict(type='avg_pool')``, ``'conv'`` or ``'depthwise_conv'``, with
    ``kernel_size`` (odd, 3 unless given).
    ``_delete_`` is passed over: mmengine leaves it in where the base config has no ``tap`` to replace.

    Raises:
        InputError: No dict, another key or type, or a number that is not a positive whole one.
    """
    kind, size = read_tap(tap)
    return size if kind == _TAP else None


def read_tap(tap: Mapping[str, Any] | None) -> tuple[str | None, int]:
    """The kind of aggregation before attention and its size: K of TAP, else the kernel's side; ``(None, 0)`` for none."""
    if tap is None:
        return None, 0
    if not isinstance(tap, Mapping):
        raise InputError(f'tap={tap!r}: give dict(num_branches=4), or None for no pooling')
    kind = tap.get('type', _TAP)
    if not isinstance(kind, str) or kind not in _OPTIONS:
        raise InputError(
            f'tap.type={kind!r}: valid are {", ".join(_OPTIONS)}{did_you_mean(str(kind), _OPTIONS)}'
        )
    option, default = _OPTIONS[kind]
    unknown = set(tap) - {'type', option, '_delete_'}
    if unknown:
        valid = option if kind == _TAP else f'{option} (with type={kind!r})'
        raise InputError(f'tap has no option {", ".join(sorted(unknown))}; valid: {valid}')
    size = tap.get(option, default)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f'tap.{option}={size!r}: it must be a whole number, 1 or more')
    if kind != _TAP and (size < 3 or size % 2 == 0):
        raise InputError(f'tap.kernel_size={size}: it must be odd, 3 or more')
    return kind, size


def put_aggregation(encoder: nn.Module, tap: Mapping[str, Any] | None) -> None:
    """Gives every block of an encoder what ``tap`` asks for in the place of token-aware average pooling.

    Args:
        encoder: With blocks built without the pooling, which have ``norm1``, a norm over the channels, and a
            ``dilation_predictor`` that is called before it where there is one.
        tap: The option; nothing is done for ``None`` and for the pooling itself.
    """
    kind, size = read_tap(tap)
    if kind is None or kind == _TAP:
        return
    for block in list(encoder.modules()):
        if getattr(block, 'dilation_predictor', _TAP) is None:
            block.dilation_predictor = local_aggregation(
                kind,
                block.norm1.normalized_shape[0],  # type: ignore[union-attr]
                kernel_size=size,
            )
