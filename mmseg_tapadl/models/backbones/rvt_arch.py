"""The sizes of RVT, as data (facts of the released weights)."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mmseg_tapadl.utils.errors import InputError

FEED_FORWARDS = ('conv', 'plain')


@dataclass(frozen=True)
class RVTArch:
    """One form of RVT.

    Attributes:
        embed_dims: Channels of a token in each stage; each stage after the first doubles those before it.
        depths: Blocks of each stage.
        num_heads: Heads in each stage.
        feature_blocks: Blocks whose tokens are features, counted from 0 over all stages; the last block is one.
        feed_forward: ``'conv'`` (1x1, depthwise 3x3, 1x1 with batch norms) or ``'plain'`` (linear, linear).
        paas_blocks: Blocks with position-aware attention scaling, all of the first stage.
        paas_side: Side of the grid on which the scaling is learned.
    """

    embed_dims: Sequence[int]
    depths: Sequence[int]
    num_heads: Sequence[int]
    feature_blocks: Sequence[int]
    feed_forward: str = 'conv'
    paas_blocks: Sequence[int] = ()
    paas_side: int = 14

    def __post_init__(self) -> None:
        """Raises :class:`InputError` naming the field that does not fit."""
        stages = len(self.embed_dims)
        if not 1 <= stages == len(self.depths) == len(self.num_heads):
            raise InputError(
                f'embed_dims={list(self.embed_dims)}, depths={list(self.depths)}, num_heads={list(self.num_heads)}: '
                'give one number a stage in each'
            )
        for name in ('embed_dims', 'depths', 'num_heads'):
            if not all(is_count(value) and value > 0 for value in getattr(self, name)):
                raise InputError(f'{name}={list(getattr(self, name))}: whole numbers, 1 or more')
        for before, after in zip(self.embed_dims, self.embed_dims[1:], strict=False):
            if after != 2 * before:
                raise InputError(f'embed_dims={list(self.embed_dims)}: each stage doubles the one before it')
        for dim, heads in zip(self.embed_dims, self.num_heads, strict=True):
            if dim % heads:
                raise InputError(
                    f'num_heads={list(self.num_heads)}: {heads} does not divide embed_dims, {dim}'
                )
        if self.feed_forward not in FEED_FORWARDS:
            raise InputError(f"feed_forward='{self.feed_forward}': valid are {', '.join(FEED_FORWARDS)}")
        check_blocks('paas_blocks', self.paas_blocks, self.depths[0], 'the blocks of the first stage are')
        check_blocks('feature_blocks', self.feature_blocks, self.depth, 'the blocks are')
        if not self.feature_blocks or self.feature_blocks[-1] != self.depth - 1:
            raise InputError(f'feature_blocks={list(self.feature_blocks)}: the last is {self.depth - 1}')
        if not is_count(self.paas_side) or self.paas_side < 1:
            raise InputError(f'paas_side={self.paas_side!r}: a whole number, 1 or more')

    @property
    def depth(self) -> int:
        """Blocks of all stages."""
        return sum(self.depths)

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each feature."""
        return [self.embed_dims[self.stage_of(block)] for block in self.feature_blocks]

    def stage_of(self, block: int) -> int:
        """The stage of a block."""
        ends = [sum(self.depths[: stage + 1]) for stage in range(len(self.depths))]
        return next(stage for stage, end in enumerate(ends) if block < end)

    def changed(self, feed_forward: str | None, paas_blocks: Sequence[int] | None) -> 'RVTArch':
        """The same size in another form; ``None`` leaves it as it is."""
        changes: dict[str, Any] = {} if feed_forward is None else {'feed_forward': feed_forward}
        if paas_blocks is not None:
            changes['paas_blocks'] = tuple(paas_blocks)
        return dataclasses.replace(self, **changes)


def is_count(value: Any) -> bool:
    """Whether it is a whole number, 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_blocks(name: str, blocks: Sequence[int], depth: int, which: str) -> None:
    """Raises :class:`InputError` for blocks that there are not, or that do not ascend."""
    if not all(map(is_count, blocks)) or list(blocks) != sorted(set(blocks) & set(range(depth))):
        raise InputError(f'{name}={list(blocks)}: {which} 0 to {depth - 1}; give some of them, ascending')


# Tiny: three features at stride 16, the last of them the end of its stage, and the end of the second at stride 32.
_TINY = RVTArch((192, 384), (10, 2), (6, 12), (3, 6, 9, 11))
_SMALL = RVTArch((384,), (12,), (6,), (2, 5, 8, 11))
_BASE = RVTArch((768,), (12,), (12,), (2, 5, 8, 11))
RVT_ARCHS = {
    'tiny': _TINY,
    'small': _SMALL,
    'base': _BASE,
    'tiny_plus': dataclasses.replace(_TINY, paas_blocks=tuple(range(10))),
    'small_plus': dataclasses.replace(_SMALL, paas_blocks=tuple(range(5))),
    'base_plus': dataclasses.replace(_BASE, paas_blocks=tuple(range(5))),
}


def get_rvt_arch(arch: str | Mapping[str, Any]) -> RVTArch:
    """Finds a size by name, or makes one from its numbers.

    Args:
        arch: A name in ``RVT_ARCHS``, or a mapping with the fields of :class:`RVTArch`.

    Raises:
        InputError: An unknown name or field, or numbers that do not fit together.
    """
    if isinstance(arch, str):
        if arch not in RVT_ARCHS:
            raise InputError(f"unknown arch '{arch}'; valid: {', '.join(RVT_ARCHS)}, or a dict of its sizes")
        return RVT_ARCHS[arch]
    valid = ', '.join(field.name for field in fields(RVTArch))
    try:
        return RVTArch(**arch)
    except TypeError as error:
        raise InputError(f'arch={arch!r}: {error}; its fields are {valid}') from error
