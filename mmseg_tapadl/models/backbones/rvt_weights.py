"""Weights of RVT in a file: the containers of the releases, the structure that the keys tell, the fit to an encoder."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmseg_tapadl.checkpoints.wrapper_names import weights_of
from mmseg_tapadl.models.backbones.rvt_arch import RVT_ARCHS, RVTArch
from mmseg_tapadl.utils.errors import InputError

EXPECTED = "weights of RVT ('patch_embed.proj.0.weight', 'transformers.0.blocks.0.attn.qkv.weight', ...)"
# What stands before the names, and a name that only RVT has, beside FAN's and timm's.
SIGNATURE = re.compile(r'(|.*\.)transformers\.\d+\.blocks\.\d+\.(?:norm1|attn\.qkv|mlp\.fc1)\.weight')
BLOCK = re.compile(r'transformers\.(\d+)\.blocks\.(\d+)\.(.+)')
POOL = re.compile(r'pools\.(\d+)\.conv\.(weight|bias)')
PAAS = 'attn.att_mask'
POOLING = 'dilation_predictor.proj.0.weight'
CLASSIFIER = 'head.'
PAAS_SIDE = 14
"""Side of the grid on which the released scaling is learned."""
_SHOWN = 4


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


def prefix_of(weights: Mapping[str, Any]) -> str | None:
    """What stands before the names of an RVT; ``None`` if these are no weights of one."""
    return next((match[1] for name in weights if (match := SIGNATURE.fullmatch(name))), None)


def choose_container(
    checkpoint: Mapping[str, Any], *, use_ema: bool = True
) -> tuple[dict[str, Tensor], bool]:
    """The weights in timm's trainer's file (``state_dict``, ``state_dict_ema``), the RVT authors' (``model``) or bare.

    Args:
        checkpoint: What the file holds.
        use_ema: Take averaged weights where the file has them.

    Returns:
        Name to tensor, without what wrappers put before the names, and whether they are the averaged ones.
    """
    averaged = checkpoint.get('state_dict_ema')
    if use_ema and isinstance(averaged, Mapping) and averaged:
        return dict(weights_of({'state_dict': averaged})), True
    return dict(weights_of(checkpoint)), False


def encoder_weights(checkpoint: Mapping[str, Any], *, paas_side: int) -> dict[str, Tensor]:
    """The encoder in any file of an RVT, under the released names: without a prefix, head and classifier.

    Raises:
        InputError: No weights of RVT, or a structure that fits no form; with the key and what was expected.
    """
    weights, _ = choose_container(checkpoint)
    prefix = prefix_of(weights)
    if prefix is None:
        raise InputError(f'{other_model(weights)}; expected {EXPECTED}')
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    encoder = {name: v for name, v in own.items() if not name.startswith((CLASSIFIER, 'decode_head.'))}
    structure_of(encoder, paas_side=paas_side)
    return encoder


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


def depths_of(blocks: Mapping[tuple[int, int], Any]) -> tuple[int, ...]:
    """Blocks of each stage.

    Raises:
        InputError: A block is missing among them; it is named.
    """
    stages = 1 + max((stage for stage, _ in blocks), default=0)
    depths = tuple(
        max(1 + max((n for s, n in blocks if s == stage), default=0), 1) for stage in range(stages)
    )
    for stage, depth in enumerate(depths):
        for number in range(depth):
            if (stage, number) not in blocks:
                raise InputError(
                    f'transformers.{stage}.blocks.{number}.* is missing; expected every block of every stage'
                )
    return depths


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
        raise InputError(f'{name}{key} is missing; expected {EXPECTED}')
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


def check_fit(
    weights: Mapping[str, Tensor],
    own: Mapping[str, tuple[int, ...]],
    sizes: RVTArch,
    num_branches: int | None,
) -> None:
    """Refuses weights that are not those of a model; all faults in one message.

    TAP may be missing in the file; blocks and norm that the encoder did not build may be left in it.

    Args:
        weights: Of the file, under the released names.
        own: Names and shapes of the encoder.
        sizes: The model's form.
        num_branches: Branches of its TAP, or ``None``.

    Raises:
        InputError: With keys, what was expected, and both structures.
    """
    has_pooling = any(is_pooling(name) for name in weights)
    missing = [
        f'{name} {list(shape)}'
        for name, shape in own.items()
        if name not in weights
        and not name.endswith('num_batches_tracked')
        and (has_pooling or not is_pooling(name))
    ]
    misshapen = [
        f'{name} is {list(weights[name].shape)}, expected {list(shape)}'
        for name, shape in own.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    surplus = [name for name in weights if name not in own and not is_behind(name, sizes, own)]
    faults = {
        'of another shape': misshapen,
        'missing, expected': missing,
        'without a place in the model': surplus,
    }
    if any(faults.values()):
        told = '; '.join(f'{len(names)} {kind}: {shown(names)}' for kind, names in faults.items() if names)
        raise InputError(
            f'{told}. The file is {structure_of(weights, paas_side=sizes.paas_side).describe()}; '
            f'the model is {form_of(sizes, num_branches).describe()}'
        )


def is_pooling(name: str) -> bool:
    """Whether a key belongs to TAP."""
    return '.dilation_predictor.' in name


def is_behind(name: str, sizes: RVTArch, own: Mapping[str, Any]) -> bool:
    """Whether a key belongs to a part of the model behind the last feature, which the encoder did not build."""
    if match := BLOCK.fullmatch(name):
        stage, number = int(match[1]), int(match[2])
        is_built = f'transformers.{stage}.blocks.{number}.norm1.weight' in own
        return not is_built and stage < len(sizes.depths) and number < sizes.depths[stage]
    if match := POOL.fullmatch(name):
        return int(match[1]) < len(sizes.depths) - 1 and f'pools.{match[1]}.conv.weight' not in own
    return name in ('norm.weight', 'norm.bias')


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


def other_model(weights: Mapping[str, Any]) -> str:
    """Says what a file holds that is no RVT."""
    some = ', '.join(f"'{name}'" for name in list(weights)[:_SHOWN])
    return f'not RVT: it holds {len(weights)} weights such as {some}' if weights else 'no weights in it'


def shown(texts: list[str]) -> str:
    """The first few, and how many more."""
    more = f', and {len(texts) - _SHOWN} more' if len(texts) > _SHOWN else ''
    return ', '.join(texts[:_SHOWN]) + more


def numbers(values: tuple[int, ...]) -> str:
    """``0 to 4`` where they follow on each other, else all of them."""
    first, last = values[0], values[-1]
    if len(values) > 2 and values == tuple(range(first, last + 1)):
        return f'{first} to {last}'
    return ', '.join(map(str, values))
