"""The sizes of SegFormer's encoder MiT, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmseg_tapadl.utils.errors import InputError


@dataclass(frozen=True)
class MiTArch:
    """One size of MiT; stage i has ``embed_dims * num_heads[i]`` channels.

    Attributes:
        embed_dims: Channels of one head.
        num_layers: Blocks of each stage.
        num_heads: Heads in the blocks of each stage.
        patch_sizes: Side of each stage's overlapping patches, in pixels of its input.
        strides: Their distance.
        sr_ratios: How much each stage's keys and values are reduced along each side.
    """

    embed_dims: int
    num_layers: Sequence[int]
    num_heads: Sequence[int] = (1, 2, 5, 8)
    patch_sizes: Sequence[int] = (7, 3, 3, 3)
    strides: Sequence[int] = (4, 2, 2, 2)
    sr_ratios: Sequence[int] = (8, 4, 2, 1)

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each stage's feature."""
        return [self.embed_dims * heads for heads in self.num_heads]


MIT_ARCHS = {
    'b0': MiTArch(32, (2, 2, 2, 2)),
    'b1': MiTArch(64, (2, 2, 2, 2)),
    'b2': MiTArch(64, (3, 4, 6, 3)),
    'b3': MiTArch(64, (3, 4, 18, 3)),
    'b4': MiTArch(64, (3, 8, 27, 3)),
    'b5': MiTArch(64, (3, 6, 40, 3)),
}


_DEFAULT = 'b0'
# What mmseg's MixVisionTransformer takes where a config of its own leaves a size out.
_MMSEG_DEFAULTS = MiTArch(64, (3, 4, 6, 3), num_heads=(1, 2, 4, 8))


def choose_mit_arch(
    arch: str | Mapping[str, Any] | None, num_stages: int | None, mmseg_sizes: Mapping[str, Any]
) -> MiTArch:
    """The size that an encoder's arguments ask for: by ``arch``, or by mmseg's own keywords.

    Args:
        arch: As for :func:`get_mit_arch`, or ``None``.
        num_stages: mmseg's keyword, or ``None``.
        mmseg_sizes: mmseg's keywords of sizes (the fields of :class:`MiTArch`), ``None`` where not given. Once
            one is given, mmseg's defaults stand for the others.

    Raises:
        InputError: Both ways at once, a ``num_stages`` that is not that of the sizes, and as for
            :func:`get_mit_arch`.
    """
    given = {name: value for name, value in mmseg_sizes.items() if value is not None}
    if num_stages is None and not given:
        return get_mit_arch(_DEFAULT if arch is None else arch)
    if arch is not None:
        names = ', '.join([*given, *([] if num_stages is None else ['num_stages'])])
        raise InputError(f'arch={arch!r} and {names}: give the sizes one way; leave out arch or the others')
    sizes = get_mit_arch({**asdict(_MMSEG_DEFAULTS), **given})
    if num_stages is not None and num_stages != len(sizes.num_layers):
        raise InputError(
            f'num_stages={num_stages}: num_layers and the other sizes are for {len(sizes.num_layers)} stages'
        )
    return sizes


def get_mit_arch(arch: str | Mapping[str, Any]) -> MiTArch:
    """Finds a size by name, or makes one from its numbers.

    Args:
        arch: A name in ``MIT_ARCHS``, or a mapping with the fields of :class:`MiTArch`.

    Raises:
        InputError: An unknown name or field, or sequences of different lengths; the valid ones are listed.
    """
    if not isinstance(arch, (str, Mapping)):
        raise InputError(f'arch={arch!r}: one of {", ".join(MIT_ARCHS)}, or a dict of its sizes')
    if isinstance(arch, str):
        if arch not in MIT_ARCHS:
            raise InputError(f"unknown arch '{arch}'; valid: {', '.join(MIT_ARCHS)}, or a dict of its sizes")
        return MIT_ARCHS[arch]
    try:
        sizes = MiTArch(**arch)
    except TypeError as error:
        valid = ', '.join(field.name for field in fields(MiTArch))
        raise InputError(f'arch={dict(arch)}: {error}; its fields are {valid}') from error
    lengths = {f.name: len(getattr(sizes, f.name)) for f in fields(MiTArch) if f.name != 'embed_dims'}
    if len(set(lengths.values())) != 1:
        raise InputError(f'arch={dict(arch)}: one number a stage is needed, got {lengths}')
    return sizes
