"""Whether the heads take the features that the encoder gives, asked when the model is built."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mmseg_tapadl.utils.errors import InputError


def check_head_channels(encoder: nn.Module, heads: Mapping[str, Any]) -> None:
    """Compares each head's ``in_channels`` with the channels of the features that it takes (``in_index``).

    An encoder that does not tell the channels of its features (``feature_channels``) is not asked.

    Args:
        encoder: The encoder.
        heads: Config, or list of configs, of the heads by their key in the model's config; ``None`` is no head.

    Raises:
        InputError: A head that expects other channels, or a feature that there is not; all of them in one line.
    """
    channels = getattr(encoder, 'feature_channels', None)
    if channels is None:
        return
    faults = []
    for key, given in heads.items():
        several = isinstance(given, Sequence)
        for number, head in enumerate(given if several else [given]):
            if isinstance(head, Mapping) and 'in_channels' in head:
                fault = fault_of(head, channels, f'{key}[{number}]' if several else key)
                faults += [fault] if fault else []
    if faults:
        raise InputError(
            f'{type(encoder).__name__} gives features of {", ".join(map(str, channels))} channels: {"; ".join(faults)}'
        )


def fault_of(head: Mapping[str, Any], channels: Sequence[int], key: str) -> str | None:
    """What is wrong with one head, and what to set; ``None`` if nothing."""
    wanted = head['in_channels']
    index = head.get('in_index', range(len(channels)) if isinstance(wanted, Sequence) else -1)
    indices = list(index) if isinstance(index, Sequence) else [index]
    if any(not -len(channels) <= i < len(channels) for i in indices):
        return f'model.{key}.in_index={index}: choose from 0 to {len(channels) - 1}'
    fitting = [channels[i] for i in indices]
    if (list(wanted) if isinstance(wanted, Sequence) else [wanted]) == fitting:
        return None
    return f'model.{key}.in_channels={wanted}: set it to {",".join(map(str, fitting))}'
