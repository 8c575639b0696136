"""A Swin encoder under mmseg's names, out of a file whose sizes nobody has told."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from mmseg_tapadl.models.backbones import TAPSwin
from mmseg_tapadl.models.backbones.swin_arch import SwinArch, get_swin_arch
from mmseg_tapadl.models.backbones.swin_weights import (
    INDEX,
    TABLE,
    check_complete,
    encoder_part,
    to_mmseg_keys,
    window_of,
)
from mmseg_tapadl.utils.errors import InputError

_TAP = 'stages.0.blocks.0.dilation_predictor.proj.0.weight'


def convert_swin(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads Swin's weights in any known form.

    Args:
        weights: An encoder, classifier or segmenter under mmseg's names, timm's or the original release's.

    Returns:
        The encoder's weights under mmseg's names, without what follows from the sizes; and the sizes, as the argument
        ``arch`` of ``TAPSwin`` takes them.

    Raises:
        InputError: No form that is known, or keys that are missing, unknown or of another shape.
    """
    found = to_mmseg_keys(encoder_part(weights))
    sizes = sizes_of(found)
    tap = dict(num_branches=found[_TAP].shape[0]) if _TAP in found else None
    with torch.device('meta'):
        own = TAPSwin(arch=asdict(sizes), tap=tap, out_indices=range(len(sizes.depths))).state_dict()
    check_complete({**found, **{key: value for key, value in own.items() if key.endswith(INDEX)}}, own)
    kept = {key: value for key, value in found.items() if key in own and not key.endswith(INDEX)}
    return kept, asdict(sizes)


def sizes_of(weights: Mapping[str, Tensor]) -> SwinArch:
    """The sizes of the encoder that weights under mmseg's names are for.

    Raises:
        InputError: None can be told from them.
    """
    blocks: dict[int, set[str]] = {}
    for match in filter(None, (re.match(r'stages\.(\d+)\.blocks\.(\d+)\.', key) for key in weights)):
        blocks.setdefault(int(match[1]), set()).add(match[2])
    tables = [weights.get(f'stages.{stage}.blocks.0.attn.w_msa{TABLE}') for stage in range(len(blocks))]
    if sorted(blocks) != list(range(len(blocks))) or any(t is None or t.ndim != 2 for t in tables):
        raise InputError(f"no '{TABLE[1:]}' of two axes in the first block of each stage")
    found = [table for table in tables if table is not None]
    return get_swin_arch(
        dict(
            embed_dims=weights['patch_embed.projection.weight'].shape[0],
            depths=tuple(len(blocks[stage]) for stage in range(len(blocks))),
            num_heads=tuple(table.shape[1] for table in found),
            window_size=window_of(found[0]),
        )
    )
