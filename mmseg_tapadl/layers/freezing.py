"""Parts of an encoder that do not train: no gradients, and evaluation mode whatever mode the rest is in."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from mmseg_tapadl.layers.attention_watch import WatchableAttention
from mmseg_tapadl.layers.local_aggregation import LocalConv
from mmseg_tapadl.layers.token_aware_pooling import TokenAwareAvgPool
from mmseg_tapadl.utils.errors import InputError

ENCODER = 'encoder'
ALL_BUT_TAP = 'encoder-but-tap'
STEM = 'stem'
FORMS = f"'{ENCODER}', '{ALL_BUT_TAP}', '{STEM}' or a number of blocks from 1 up"


def freeze(encoder: nn.Module, what: str | int) -> None:
    """Freezes parts of an encoder: their parameters get no gradient, and they stay in evaluation mode.

    What is frozen keeps its running statistics and drops nothing out. Attention that a loss may watch computes the same
    in both modes and keeps the mode of the encoder, so that the loss still sees it.

    Args:
        encoder: Frozen for good. For ``'stem'`` and a number it has ``num_blocks`` and ``block_of``, see
            :class:`mmseg_tapadl.models.backbones.encoder_layers.LayeredEncoder`.
        what: ``'encoder'`` (all of it, TAP included), ``'encoder-but-tap'``, ``'stem'`` (what makes tokens of the
            picture), or N: the stem and the first N blocks with their TAP; also as text.

    Raises:
        InputError: Another form, more blocks than there are, no TAP to leave out, or an encoder that does not tell its
            blocks.
    """
    name = type(encoder).__name__
    pools = [module for module in encoder.modules() if isinstance(module, (TokenAwareAvgPool, LocalConv))]
    pooling = {id(parameter) for pool in pools for parameter in pool.parameters() if parameter.requires_grad}
    if what == ENCODER:
        frozen = set(dict(encoder.named_parameters()))
        idle = list(encoder.modules())
    elif what == ALL_BUT_TAP:
        if not pooling:
            raise InputError(
                f"freeze='{ALL_BUT_TAP}': {name} has no TAP that could train (tap=None): write '{ENCODER}', or give it "
                'tap=dict(num_branches=4)'
            )
        frozen = {key for key, parameter in encoder.named_parameters() if id(parameter) not in pooling}
        kept = {id(module) for pool in pools for module in pool.modules()}
        # The encoder's own mode switches activation checkpointing, which the pooling's gradients need.
        idle = [m for m in encoder.modules() if id(m) not in kept and m is not encoder and not _watchable(m)]
    else:
        last = number_of_blocks(encoder, what)
        block_of: Any = encoder.block_of
        frozen = {key for key, _ in encoder.named_parameters() if block_of(key) <= last}
        idle = [module for module in _wholly(encoder, frozen) if not _watchable(module)]
    for key, parameter in encoder.named_parameters():
        if key in frozen:
            parameter.requires_grad_(False)
    # Asked last of all, as it is the last child.
    encoder.add_module(
        f'frozen_parts{sum(isinstance(m, FrozenParts) for m in encoder.children())}', FrozenParts(idle)
    )
    encoder.train(encoder.training)


def number_of_blocks(encoder: nn.Module, what: str | int) -> int:
    """How many of an encoder's first blocks ``what`` names; 0 for ``'stem'``.

    Raises:
        InputError: As for :func:`freeze`.
    """
    text = str(what)
    count = 0 if what == STEM else int(text) if text.isdecimal() and not isinstance(what, bool) else None
    if count is None or (count == 0 and what != STEM):
        raise InputError(f'freeze={what!r}: must be {FORMS}')
    name = type(encoder).__name__
    if not hasattr(encoder, 'block_of'):
        raise InputError(
            f'freeze={what!r}: {name} does not tell its blocks (block_of and num_blocks, see docs/add_an_encoder.md); '
            f"'{ENCODER}' freezes any encoder"
        )
    depth: Any = encoder.num_blocks
    if count > depth:
        raise InputError(f"freeze={what!r}: {name} has {depth} blocks; '{ENCODER}' freezes all of it")
    return count


class FrozenParts(nn.Module):
    """A child without weights that keeps other modules in evaluation mode whenever its parent changes its mode.

    It must be the last child: ``nn.Module.train`` asks children in their order.

    Args:
        modules: Those to keep; they belong to the parent, not to this.
    """

    def __init__(self, modules: Iterable[nn.Module]):
        super().__init__()
        self.kept = list(modules)  # a list, so that they are not registered here a second time

    def train(self, mode: bool = True) -> 'FrozenParts':
        """Puts the kept modules into evaluation mode."""
        super().train(mode)
        for module in self.kept:
            module.training = False
        return self

    def extra_repr(self) -> str:
        return f'{len(self.kept)} modules stay in evaluation mode'


def _watchable(module: nn.Module) -> bool:
    return isinstance(module, WatchableAttention) and not module.attn_drop_rate


def _wholly(encoder: nn.Module, frozen: set[str]) -> list[nn.Module]:
    """The modules all of whose parameters are frozen, with everything inside them."""
    found: dict[int, nn.Module] = {}
    for name, module in encoder.named_modules():
        keys = [f'{name}.{key}' if name else key for key, _ in module.named_parameters()]
        if keys and all(key in frozen for key in keys):
            found.update((id(inner), inner) for inner in module.modules())
    return list(found.values())
