"""A segmentor whose encoder, or a part of it, does not train."""

from torch import nn

from mmseg_tapadl.layers.freezing import freeze
from mmseg_tapadl.models.losses.attention_reach import require_reach_when_built
from mmseg_tapadl.utils.errors import InputError


def freeze_encoder(model: nn.Module, what: str | int) -> None:
    """Freezes the encoder of a segmentor or parts of it, for good: see :func:`mmseg_tapadl.layers.freezing.freeze`.

    Args:
        model: Any segmentor with a ``backbone``, before its optimizer is built and before it is wrapped for several
            processes.
        what: ``'encoder'``, ``'encoder-but-tap'``, ``'stem'`` or a number of blocks.

    Raises:
        InputError: There is no such part, or ``loss_attention`` then reaches no weight that trains.
    """
    while not hasattr(model, 'backbone') and isinstance(getattr(model, 'module', None), nn.Module):
        model = model.module
    encoder = getattr(model, 'backbone', None)
    if not isinstance(encoder, nn.Module):
        raise InputError(f'freeze={what!r}: {type(model).__name__} has no encoder (backbone)')
    freeze(encoder, what)
    watch = getattr(model, 'attention_watch', None)
    if watch is not None:
        require_reach_when_built(encoder, watch)
