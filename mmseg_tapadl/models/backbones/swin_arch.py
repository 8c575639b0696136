"""The sizes of the Swin transformer, as data.

Source: Liu et al., Swin Transformer, ICCV 2021 (arXiv 2103.14030), section 3.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mmseg_tapadl.utils.errors import InputError


@dataclass(frozen=True)
class SwinArch:
    """One size of Swin; stage i has ``embed_dims * 2**i`` channels.

    Attributes:
        embed_dims: Channels of the first stage.
        depths: Blocks of each stage.
        num_heads: Heads in the blocks of each stage.
        window_size: Side of a window, in tokens.
    """

    embed_dims: int
    depths: Sequence[int]
    num_heads: Sequence[int]
    window_size: int = 7

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each stage's feature."""
        return [self.embed_dims * 2**stage for stage in range(len(self.depths))]


SWIN_ARCHS = {
    'tiny': SwinArch(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    'small': SwinArch(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'base': SwinArch(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    'large': SwinArch(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


def get_swin_arch(arch: str | Mapping[str, Any], window_size: int | None = None) -> SwinArch:
    """Finds a size by name, or makes one from its numbers.

    Args:
        arch: A name in ``SWIN_ARCHS``, or a mapping with the fields of :class:`SwinArch`.
        window_size: In place of the size's own.

    Raises:
        InputError: An unknown name or field, sequences of different lengths, heads that do not divide the channels, a
            window below 1; what is valid is said.
    """
    if not isinstance(arch, (str, Mapping)):
        raise InputError(f'arch={arch!r}: one of {", ".join(SWIN_ARCHS)}, or a dict of its sizes')
    if isinstance(arch, str):
        if arch not in SWIN_ARCHS:
            raise InputError(f"unknown arch '{arch}'; valid: {', '.join(SWIN_ARCHS)}, or a dict of its sizes")
        sizes = SWIN_ARCHS[arch]
    else:
        try:
            sizes = SwinArch(**arch)
        except TypeError as error:
            valid = ', '.join(field.name for field in fields(SwinArch))
            raise InputError(f'arch={dict(arch)}: {error}; its fields are {valid}') from error
    if window_size is not None:
        sizes = replace(sizes, window_size=window_size)
    check_sizes(sizes)
    return sizes


def check_sizes(sizes: SwinArch) -> None:
    """Raises :class:`InputError` for sizes from which no encoder can be built."""
    given = (sizes.depths, sizes.num_heads)
    if not all(isinstance(x, Sequence) for x in given) or len(given[0]) != len(given[1]) or not given[0]:
        raise InputError(
            f'depths={sizes.depths}, num_heads={sizes.num_heads}: one number a stage is needed in each'
        )
    numbers = {
        'window_size': [sizes.window_size],
        'embed_dims': [sizes.embed_dims],
        'depths': sizes.depths,
        'num_heads': sizes.num_heads,
    }
    for name, values in numbers.items():
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f'{name}={value!r}: it must be a whole number, 1 or more')
    for stage, (channels, heads) in enumerate(zip(sizes.feature_channels, sizes.num_heads, strict=True)):
        if channels % heads:
            raise InputError(f'num_heads={heads} in stage {stage}: it must divide the {channels} channels')
