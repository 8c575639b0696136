"""The sizes of FAN, as data (facts of the released weights)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mmseg_tapadl.layers.stems import HYBRID_WIDTHS
from mmseg_tapadl.utils.errors import InputError


@dataclass(frozen=True)
class FANArch:
    """One size of FAN.

    Attributes:
        embed_dim: Channels of a token.
        depth: Token blocks.
        num_heads: Heads of a token block.
        token_indices: Blocks whose tokens are features, counted from 0.
        stem_depths: Blocks of the two ConvNeXt stages; empty in the plain family, which embeds by convolutions.
    """

    embed_dim: int
    depth: int
    num_heads: int
    token_indices: Sequence[int]
    stem_depths: Sequence[int] = ()

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each feature: the stem's stages, the chosen blocks' tokens, the tokens after the closing."""
        return [*HYBRID_WIDTHS[: len(self.stem_depths)], *[self.embed_dim] * (len(self.token_indices) + 1)]

    @property
    def blocks_needed(self) -> list[int]:
        """Token blocks that run before each feature is there."""
        return [*[0] * len(self.stem_depths), *[index + 1 for index in self.token_indices], self.depth]


FAN_ARCHS = {
    'tiny_hybrid': FANArch(192, 8, 8, (7,), (3, 3)),
    'small_hybrid': FANArch(384, 10, 8, (9,), (3, 3)),
    'base_hybrid': FANArch(448, 16, 8, (15,), (3, 3)),
    'large_hybrid': FANArch(480, 22, 10, (18,), (3, 5)),
    'tiny': FANArch(192, 12, 4, (4, 7, 11)),
    'small': FANArch(384, 12, 8, (4, 7, 11)),
    'base': FANArch(448, 18, 8, (4, 7, 11)),
    'large': FANArch(480, 24, 10, (4, 7, 11)),
}


def get_fan_arch(arch: str | Mapping[str, Any]) -> FANArch:
    """Finds a size by name, or makes one from its numbers.

    Args:
        arch: A name in ``FAN_ARCHS``, or a mapping with the fields of :class:`FANArch`.

    Raises:
        InputError: An unknown name or field; the valid ones are listed.
    """
    if isinstance(arch, str):
        if arch not in FAN_ARCHS:
            raise InputError(f"unknown arch '{arch}'; valid: {', '.join(FAN_ARCHS)}, or a dict of its sizes")
        return FAN_ARCHS[arch]
    valid = [field.name for field in fields(FANArch)]
    try:
        return FANArch(**arch)
    except TypeError as error:
        raise InputError(f'arch={dict(arch)}: {error}; its fields are {", ".join(valid)}') from error
