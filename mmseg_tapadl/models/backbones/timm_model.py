"""timm's own model behind an encoder: made by its name, asked for some blocks, compared with what is made of it."""

import logging
from collections.abc import Sequence
from typing import Any

import timm
import torch
from mmengine.logging import print_log
from timm.models import Eva, VisionTransformer
from torch import Tensor, nn

from mmseg_tapadl.layers.timm_attention import check_attention
from mmseg_tapadl.layers.timm_block import check_block
from mmseg_tapadl.utils.errors import InputError

NUM_FEATURES = 4
# Of the features' spread: what another order of sums may change.
PROBE_TOLERANCE = 1e-5


def create_vit(name: str, **options: Any) -> VisionTransformer | Eva:
    """timm's model of this name with random weights.

    Raises:
        InputError: It is none of timm's plain vision transformers.
    """
    try:
        made: Any = timm.create_model(name, **options)
    except TypeError:  # the options are those of vision transformers
        made = None
    if not isinstance(made, (VisionTransformer, Eva)):
        raise InputError(
            f"model='{name}' is none of timm's plain vision transformers (VisionTransformer, Eva): without their attention "
            'over patches it can be used with neither TAP nor ADL; take it through an encoder of mmseg or mmpretrain'
        )
    return made


def check_rate(name: str, rate: float) -> None:
    """Raises :class:`InputError` for a probability ``name`` that is not from 0 to below 1."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise InputError(f'{name}={rate!r}: it must be from 0 to below 1')


def check_parts(vit: VisionTransformer | Eva, model: str) -> None:
    """Raises :class:`InputError` where a block, or the attention in it, is none that is known here."""
    try:
        for block in vit.blocks:
            check_block(block)
            check_attention(block.attn)
    except InputError as error:
        raise InputError(f"model='{model}': {error}") from None


def tell_missing_norm(vit: VisionTransformer | Eva, model: str) -> None:
    """Says so where no norm follows the last block."""
    if isinstance(vit.norm, nn.Identity):
        print_log(
            f"final_norm=True: model='{model}' has no norm behind its last block, so its features are not normed",
            logger='current',
            level=logging.WARNING,
        )


def chosen_blocks(out_indices: Sequence[int] | None, depth: int, model: str) -> tuple[int, ...]:
    """The blocks whose outputs are features.

    Raises:
        InputError: None, or one that the model does not have, or not ascending.
    """
    if out_indices is None:
        count = min(NUM_FEATURES, depth)
        return tuple((i + 1) * depth // count - 1 for i in range(count))
    chosen = list(out_indices) if isinstance(out_indices, Sequence) else []
    numbers = all(isinstance(i, int) and not isinstance(i, bool) for i in chosen)
    if not chosen or not numbers or chosen != sorted(set(chosen)) or chosen[0] < 0 or chosen[-1] >= depth:
        raise InputError(
            f"out_indices={out_indices}: model='{model}' has blocks 0 to {depth - 1}; give some of them, ascending"
        )
    return tuple(chosen)


def probe_picture(vit: nn.Module, patch_size: int) -> Tensor:
    """A picture of 2 x 3 patches, (1, 3, 2p, 3p), the same each time and without drawing a random number.

    In the dtype and on the device of the model's weights.
    """
    height, width = 2 * patch_size, 3 * patch_size
    wave = torch.sin(torch.arange(3 * height * width, dtype=torch.float32, device='cpu') * 0.7)
    return wave.reshape(1, 3, height, width).to(next(vit.parameters()))


def check_same_function(model: str, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Compares the encoder's features with timm's own.

    Raises:
        InputError: They differ by more than rounding: something in this model is not known here.
    """
    for feature, expected in zip(ours, theirs, strict=True):
        if expected.is_meta:  # there are no values to compare
            continue
        difference = float((feature - expected).abs().max())
        spread = float(expected.std())
        if not difference <= PROBE_TOLERANCE * max(spread, 1.0):
            raise InputError(
                f"model='{model}': this encoder's features differ from timm's own by {difference:.1e} (their spread is "
                f'{spread:.1e}); something in it is not known here, so it is refused'
            )
