"""The structure of an RVT, read from the names and shapes of its weights."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmseg_tapadl.models.backbones.rvt_arch import RVT_ARCHS, RVTArch
from mmseg_tapadl.utils.errors import InputError

BLOCK = re.compile(r'transformers\.(\d+)\.blocks\.(\d+)\.(.+)')
PAAS = 'attn.att_mask'
POOLING = 'dilation_predictor.proj.0.weight'
PAAS_SIDE = 14
"""Side of the grid on which the released scaling is learned."""


@dataclass(frozen=True, kw_only=True)
class RVTStructure:
    """The form of an RVT, as the keys of its weights tell it.

    Attributes:
        size: ``'tiny'``, ``'small'``, ``'base'``, or ``None`` for sizes that were never released.
        embed_dims: Channels of each stage.
        depths: Blocks of each stage.
        feed_forward: ``'conv'`` or ``'plain'``.
        paas_blocks: Blocks with position-aware attention scaling, counted over all stages.
        num_branches: Branches of TAP, or ``None``.
    """

    size: str | None
    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    feed_forward: str
    paas_blocks: tuple[int, ...]
    num_branches: int | None

    @property
    def arch(self) -> str | None:
        """Its name in ``RVT_ARCHS``; which blocks have PAAS may differ from that name's."""
        return self.size and f'{self.size}{"_plus" if self.paas_blocks else ""}'

    def changes(self) -> dict[str, Any]:
        """The arguments of ``RVT`` in which it differs from the released form of its name."""
        named = RVT_ARCHS[self.arch] if self.arch else None
        changes: dict[str, Any] = {}
        if named is None or self.feed_forward != named.feed_forward:
            changes['feed_forward'] = self.feed_forward
        if named is None or self.paas_blocks != tuple(named.paas_blocks):
            changes['paas_blocks'] = list(self.paas_blocks)
        return changes

    def describe(self) -> str:
        """One line for a person."""
        sizes = f'{self.arch or "of own sizes"} ({", ".join(f"{d} x {n}" for d, n in zip(self.embed_dims, self.depths, strict=True))})'
        paas = f'PAAS in blocks {numbers(self.paas_blocks)}' if self.paas_blocks else 'without PAAS'
        tap = 'without TAP' if self.num_branches is None else f'with TAP (num_branches={self.num_branches})'
        return f'RVT {sizes}, {self.feed_forward} feed-forward, {paas}, {tap}'


def form_of(sizes: RVTArch, num_branches: int | None) -> RVTStructure:
    """The structure of a model."""
    return RVTStructure(
        size=size_of(tuple(sizes.embed_dims), tuple(sizes.depths)),
        embed_dims=tuple(sizes.embed_dims),
        depths=tuple(sizes.depths),
        feed_forward=sizes.feed_forward,
        paas_blocks=tuple(sizes.paas_blocks),
        num_branches=num_branches,
    )


def structure_of(weights: Mapping[str, Tensor], *, paas_side: int = PAAS_SIDE) -> RVTStructure:
    """Reads the form from names and shapes.

    Args:
        weights: An encoder's weights under the released names, without a prefix.
        paas_side: Side of the grid on which position-aware scaling must be.

    Raises:
        InputError: They fit no form: with the key and what was expected.
    """
    blocks: dict[tuple[int, int], dict[str, Tensor]] = {}
    for name, value in weights.items():
        if match := BLOCK.fullmatch(name):
            blocks.setdefault((int(match[1]), int(match[2])), {})[match[3]] = value
    depths = depths_of(blocks)
    places = [(stage, number) for stage, depth in enumerate(depths) for number in range(depth)]
    names = [f'transformers.{stage}.blocks.{number}.' for stage, number in places]
    found = dict(zip(names, (blocks[place] for place in places), strict=True))
    for (stage, _), (name, block) in zip(places, found.items(), strict=True):
        if PAAS in block:
            check_paas(block[PAAS], f'{name}{PAAS}', stage, paas_side)
    embed_dims = tuple(
        shape_of(blocks[stage, 0], 'attn.proj.weight', f'transformers.{stage}.blocks.0.', 2)[0]
        for stage in range(len(depths))
    )
    return RVTStructure(
        size=size_of(embed_dims, depths),
        embed_dims=embed_dims,
        depths=depths,
        feed_forward=same_in_all(found, feed_forward_of, 'mlp.fc1.weight'),
        paas_blocks=tuple(index for index, block in enumerate(found.values()) if PAAS in block),
        num_branches=same_in_all(found, branches_of, POOLING),
    )


def depths_of(blocks: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Blocks of each stage, from the stage and number of each.

    Raises:
        InputError: A block is missing among them; it is named.
    """
    stages: dict[int, set[int]] = {}
    for stage, number in blocks:
        stages.setdefault(stage, set()).add(number)
    for stage in range(max(len(stages), 1)):
        found = stages.get(stage, set())
        for number in range(max(len(found), 1)):
            if number not in found:
                raise InputError(
                    f'transformers.{stage}.blocks.{number}.* is missing; expected every block of every stage'
                )
    return tuple(len(stages[stage]) for stage in range(len(stages)))


def same_in_all(
    blocks: Mapping[str, Mapping[str, Tensor]], read: Callable[[Mapping[str, Tensor], str], Any], key: str
) -> Any:
    """What all blocks have in common.

    Raises:
        InputError: A block differs from the first; its key is named.
    """
    values = {name: read(block, name) for name, block in blocks.items()}
    first = next(iter(values))
    for name, value in values.items():
        if value != values[first]:
            raise InputError(f'{name}{key}: {value} here, expected {values[first]} as in {first}{key}')
    return values[first]


def shape_of(block: Mapping[str, Tensor], key: str, name: str, *axes: int) -> tuple[int, ...]:
    """The shape of a weight that must be there, with one of these numbers of axes."""
    if key not in block:
        raise InputError(f'{name}{key} is missing; expected in every block')
    shape = tuple(block[key].shape)
    if len(shape) not in axes:
        raise InputError(f'{name}{key} is {list(shape)}; expected {" or ".join(map(str, axes))} axes')
    return shape


def feed_forward_of(block: Mapping[str, Tensor], name: str) -> str:
    """``'conv'`` or ``'plain'``, by the axes of the first layer."""
    return 'conv' if len(shape_of(block, 'mlp.fc1.weight', name, 2, 4)) == 4 else 'plain'


def branches_of(block: Mapping[str, Tensor], name: str) -> int | None:
    """K of a block's TAP, or ``None``."""
    return shape_of(block, POOLING, name, 4)[0] if POOLING in block else None


def check_paas(value: Tensor, key: str, stage: int, side: int) -> None:
    """Refuses scaling of another grid, or behind the first stage."""
    places = side * side
    shape = tuple(value.shape)
    if stage > 0:
        raise InputError(f'{key}: expected PAAS in the first stage only')
    if len(shape) != 3 or shape[1:] != (places, places):
        raise InputError(
            f'{key} is {list(shape)}: PAAS of another grid; expected [heads, {places}, {places}], '
            f'the grid of {side} x {side} patches'
        )


def size_of(embed_dims: tuple[int, ...], depths: tuple[int, ...]) -> str | None:
    """The name of a released size."""
    for name, arch in RVT_ARCHS.items():
        if (tuple(arch.embed_dims), tuple(arch.depths)) == (embed_dims, depths):
            return name
    return None


def numbers(values: tuple[int, ...]) -> str:
    """``0 to 4`` where they follow on each other, else all of them."""
    first, last = values[0], values[-1]
    if len(values) > 2 and values == tuple(range(first, last + 1)):
        return f'{first} to {last}'
    return ', '.join(map(str, values))
