"""Weights of RVT in a file: the containers of the releases, what stands before the names, the fit to an encoder."""

import re
from collections.abc import Container, Mapping
from typing import Any

from torch import Tensor

from mmseg_tapadl.checkpoints.wrapper_names import as_named_in, weights_of
from mmseg_tapadl.models.backbones.rvt_arch import RVTArch
from mmseg_tapadl.models.backbones.rvt_structure import BLOCK, form_of, structure_of
from mmseg_tapadl.utils import InputError, first_few

EXPECTED = "weights of RVT ('patch_embed.proj.0.weight', 'transformers.0.blocks.0.attn.qkv.weight', ...)"
# What stands before the names, and a name that only RVT has, beside FAN's and timm's.
SIGNATURE = re.compile(r'(|.*\.)transformers\.\d+\.blocks\.\d+\.(?:norm1|attn\.qkv|mlp\.fc1)\.weight')
POOL = re.compile(r'pools\.(\d+)\.conv\.(weight|bias)')
CLASSIFIER = 'head.'


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


def encoder_weights(
    checkpoint: Mapping[str, Any], own: Container[str], *, paas_side: int
) -> dict[str, Tensor]:
    """The encoder in any file of an RVT, under the released names: without a prefix, head and classifier.

    Args:
        checkpoint: What the file holds.
        own: The names that the encoder has.
        paas_side: Side of the grid on which position-aware scaling must be.

    Raises:
        InputError: No weights of RVT, or a structure that fits no form; with the key and what was expected.
    """
    weights, _ = choose_container(checkpoint)
    prefix = prefix_of(weights)
    if prefix is None:
        raise InputError(f'{other_model(weights)}; expected {EXPECTED}')
    bare = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    encoder = {
        name: value
        for name, value in as_named_in(bare, own).items()
        if not name.startswith((CLASSIFIER, 'decode_head.'))
    }
    structure_of(encoder, paas_side=paas_side)
    return encoder


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
        told = '; '.join(
            f'{len(names)} {kind}: {first_few(names)}' for kind, names in faults.items() if names
        )
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


def other_model(weights: Mapping[str, Any]) -> str:
    """Says what a file holds that is no RVT."""
    if not weights:
        return 'no weights in it'
    return f'not RVT: it holds {len(weights)} weights such as {first_few([repr(name) for name in weights])}'
