"""Weights of RVT in a file: the containers of the releases, the structure that the keys tell, the fit to an encoder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmseg_tapadl.checkpoints.wrapper_names import weights_of
from mmseg_tapadl.models.backbones.rvt_arch import RVT_ARCHS, RVTArch
from mmseg_tapadl.utils.errors import InputError

# Names that only RVT has, beside FAN's and timm's.
SIGNATURE = 'transformers.0.blocks.0.attn.qkv.weight'
EXPECTED = f"weights of RVT ('patch_embed.proj.0.weight', '{SIGNATURE}', ...)"
BLOCK = re.compile(r'transformers\.(\d+)\.blocks\.(\d+)\.(.+)')
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


def holds_rvt(weights: Mapping[str, Any]) -> bool:
    """Whether these are weights of RVT, whatever stands before their names."""
    return any(name.endswith(SIGNATURE) for name in weights)


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


def encoder_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The encoder in any file of an RVT, under the released names: without a prefix, head and classifier.

    Raises:
        InputError: No weights of RVT, or a structure that fits no form; with the key and what was expected.
    """
    weights, _ = choose_container(checkpoint)
    prefixes = [name.removesuffix(SIGNATURE) for name in weights if name.endswith(SIGNATURE)]
    if not prefixes:
        raise InputError(f'{other_model(weights)}; expected {EXPECTED}')
    own = {
        name.removeprefix(prefixes[0]): value
        for name, value in weights.items()
        if name.startswith(prefixes[0])
    }
    encoder = {name: v for name, v in own.items() if not name.startswith((CLASSIFIER, 'decode_head.'))}
    structure_of(encoder)
    return encoder


def structure_of(weights: Mapping[str, Tensor]) -> RVTStructure:
    """Reads the form from names and shapes.

    Args:
        weights: An encoder's weights under the released names, without a prefix.

    Raises:
        InputError: They fit no form: with the key and what was expected.
    """
    blocks: dict[tuple[int, int], dict[str, Tensor]] = {}
    for name, value in weights.items():
        if match := BLOCK.fullmatch(name):
            blocks.setdefault((int(match[1]), int(match[2])), {})[match[3]] = value
    places = sorted(blocks)
    depths = tuple(
        sum(stage == place[0] for place in places)
        for stage in range(max((p[0] for p in places), default=0) + 1)
    )
    expected_places = [(stage, number) for stage, depth in enumerate(depths) for number in range(depth)]
    if not places or places != expected_places:
        missing = next(p for p in [*expected_places, (0, 0)] if p not in blocks)
        raise InputError(f'no transformers.{missing[0]}.blocks.{missing[1]}.*: its blocks have a gap')
    embed_dims = []
    forms: set[str] = set()
    paas_blocks = []
    branches: set[int | None] = set()
    for index, place in enumerate(places):
        block, name = blocks[place], f'transformers.{place[0]}.blocks.{place[1]}.'
        dim = shape_of(block, 'attn.proj.weight', name, 2)[0]
        if place[1] == 0:
            embed_dims.append(dim)
        form = feed_forward_of(block, name)
        if forms and form not in forms:
            first = 'transformers.0.blocks.0.mlp.fc1.weight'
            raise InputError(
                f'{name}mlp.fc1.weight is of a {form} feed-forward network and {first} is not; expected one form'
            )
        forms.add(form)
        if 'attn.att_mask' in block:
            check_paas(block['attn.att_mask'], f'{name}attn.att_mask', place[0])
            paas_blocks.append(index)
        branches.add(block_branches(block, name))
    if len(branches) > 1:
        which = next(
            n
            for n, (p, b) in enumerate(sorted(blocks.items()))
            if block_branches(b, '') != block_branches(blocks[0, 0], '')
        )
        stage, number = places[which]
        raise InputError(
            f'transformers.{stage}.blocks.{number}.dilation_predictor.proj.0.weight: another number of branches of '
            f'TAP than in block 0; found {sorted(b or 0 for b in branches)}, expected one for all blocks'
        )
    return RVTStructure(
        size=size_of(tuple(embed_dims), depths),
        embed_dims=tuple(embed_dims),
        depths=depths,
        feed_forward=forms.pop(),
        paas_blocks=tuple(paas_blocks),
        num_branches=branches.pop(),
    )


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


def block_branches(block: Mapping[str, Tensor], name: str) -> int | None:
    """K of a block's TAP, or ``None``."""
    key = 'dilation_predictor.proj.0.weight'
    return shape_of(block, key, name, 4)[0] if key in block else None


def check_paas(value: Tensor, key: str, stage: int) -> None:
    """Refuses scaling of another grid than the released one, or behind the first stage."""
    places = PAAS_SIDE * PAAS_SIDE
    shape = tuple(value.shape)
    if stage > 0:
        raise InputError(f'{key}: expected PAAS in the first stage only')
    if len(shape) != 3 or shape[1:] != (places, places):
        raise InputError(
            f'{key} is {list(shape)}: PAAS of another grid; expected [heads, {places}, {places}], '
            f'the grid of {PAAS_SIDE} x {PAAS_SIDE} patches'
        )


def size_of(embed_dims: tuple[int, ...], depths: tuple[int, ...]) -> str | None:
    """The name of a released size."""
    for name, arch in RVT_ARCHS.items():
        if (tuple(arch.embed_dims), tuple(arch.depths)) == (embed_dims, depths):
            return name
    return None


def faults_of_fit(encoder: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """What of an encoder's weights does not fit it, in sentences with keys; empty where all do.

    TAP may be missing in the file, as it starts as nearly the identity; blocks and norm that the encoder did not build
    may be left in the file.
    """
    own = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    sizes: Any = encoder.sizes
    missing, surplus, misshapen = [], [], []
    has_pooling = any('.dilation_predictor.' in name for name in weights)
    for name, shape in own.items():
        if name not in weights:
            if not name.endswith('num_batches_tracked') and (
                '.dilation_predictor.' not in name or has_pooling
            ):
                missing.append(f'{name} {list(shape)}')
        elif tuple(weights[name].shape) != shape:
            misshapen.append(f'{name} is {list(weights[name].shape)}, expected {list(shape)}')
    surplus = [name for name in weights if name not in own and not is_behind(name, sizes, own)]
    faults = []
    if misshapen:
        faults.append(f'{len(misshapen)} of another shape: {shown(misshapen)}')
    if missing:
        faults.append(f'{len(missing)} missing, expected: {shown(missing)}')
    if surplus:
        faults.append(f'{len(surplus)} that the model has no place for: {shown(surplus)}')
    if faults:
        faults.append(
            f'the file is {structure_of(weights).describe()}; the model {form_of(sizes, encoder.num_branches)}'
        )
    return faults


def is_behind(name: str, sizes: RVTArch, own: Mapping[str, Any]) -> bool:
    """Whether a key belongs to a part behind the last feature, which the encoder did not build."""
    built = {(int(m[1]), int(m[2])) for key in own if (m := BLOCK.fullmatch(key))}
    if match := BLOCK.fullmatch(name):
        stage, number = int(match[1]), int(match[2])
        return (stage, number) not in built and stage < len(sizes.depths) and number < sizes.depths[stage]
    if name.startswith('pools.'):
        return int(name.split('.')[1]) < len(sizes.depths) - 1 and 'pools.0.conv.weight' not in own
    return name in ('norm.weight', 'norm.bias')


def form_of(sizes: RVTArch, num_branches: int | None) -> str:
    """A model's structure in one line."""
    return RVTStructure(
        size=size_of(tuple(sizes.embed_dims), tuple(sizes.depths)),
        embed_dims=tuple(sizes.embed_dims),
        depths=tuple(sizes.depths),
        feed_forward=sizes.feed_forward,
        paas_blocks=tuple(sizes.paas_blocks),
        num_branches=num_branches,
    ).describe()


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
