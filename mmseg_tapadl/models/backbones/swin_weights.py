"""Swin's weights under mmseg's names, those of timm or of the original release; other windows resampled.

The function is mmseg's. timm's (1.0.31) is the same where every grid is of whole windows and of more than one; else timm
shifts before it pads, and does not shift where a grid is a single window (the last stage at 224), which mmseg does.

mmseg numbers what halves the grid with the stage before it and reads its four neighbours row by row, channel by
channel; timm numbers it with the stage behind it and, like the original, reads them column by column, all
channels of one after the other.
"""

import re
from collections.abc import Mapping

import torch
from timm.layers import resize_rel_pos_bias_table_simple
from torch import Tensor

from mmseg_tapadl.checkpoints.wrapper_names import as_named_in, prefix_before
from mmseg_tapadl.utils import InputError, first_few

FORMS = (
    "mmseg's ('patch_embed.projection.weight', 'stages.0.blocks.0.attn.w_msa.qkv.weight', ...), "
    "timm's ('patch_embed.proj.weight', 'layers.0.blocks.0.attn.qkv.weight', 'layers.1.downsample.reduction.weight', ...) or "
    "the original's ('layers.0.downsample.reduction.weight', ...)"
)
_RENAMES = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^layers\.', 'stages.'),
    (r'\.attn\.(?=qkv|proj|relative_position_bias_table)', '.attn.w_msa.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)
# The classifier with its norm, norms of features that are not asked for, and what follows from the sizes.
_NOT_NEEDED = r'norm\d*\.(weight|bias)|head\..*|.*\.(attn_mask|relative_position_index)'
# What a classifier's weights lack: the features' norms. TAP starts anew, too.
_MAY_LACK = r'norm\d+\.(weight|bias)|.*\.dilation_predictor\..*'
TABLE = '.relative_position_bias_table'
INDEX = '.relative_position_index'


def encoder_part(weights: Mapping[str, Tensor], prefix: str | None = None) -> dict[str, Tensor]:
    """The encoder within a file, its prefix taken off; ``None`` finds it (``'backbone.'`` in a segmenter's)."""
    if not prefix:
        prefix = prefix_before(weights, ('patch_embed.projection.weight', 'patch_embed.proj.weight'))
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def to_mmseg_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Swin's weights under mmseg's names; those that have them already are returned as they are.

    Args:
        weights: An encoder or classifier, without prefixes.

    Raises:
        InputError: Names of none of the three forms.
    """
    if 'patch_embed.projection.weight' in weights:
        return dict(weights)
    # timm's features_only=True makes the stages attributes of their own.
    weights = {re.sub(r'^layers_(?=\d+\.)', 'layers.', key): value for key, value in weights.items()}
    needed = ('patch_embed.proj.weight', f'layers.0.blocks.0.attn{TABLE}')
    lacking = [key for key in needed if key not in weights]
    if lacking:
        raise InputError(
            f"no Swin: '{lacking[0]}' is missing among {first_few(weights) or 'no weights'}; expected {FORMS}"
        )
    is_original = 'layers.0.downsample.reduction.weight' in weights
    converted = {}
    for key, value in weights.items():
        if re.fullmatch(_NOT_NEEDED, key):
            continue
        if '.downsample.' in key:
            value = reordered(value, key)
            if not is_original:
                key = re.sub(r'(?<=^layers\.)\d+', lambda match: str(int(match[0]) - 1), key)
        for pattern, name in _RENAMES:
            key = re.sub(pattern, name, key)
        converted[key] = value
    return converted


def reordered(value: Tensor, key: str) -> Tensor:
    """The last axis of a downsampling weight, four neighbours of C channels each, in mmseg's order.

    Raises:
        InputError: An axis that is not four times something.
    """
    if value.ndim == 0 or value.shape[-1] % 4:
        raise InputError(f"'{key}' is {tuple(value.shape)}; expected a last axis of four times the channels")
    # (columns, rows, channels) to (channels, rows, columns).
    return value.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)


def fitted_weights(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an encoder takes of weights in any of the three forms, under its own names, fitted to its windows.

    Args:
        weights: An encoder or classifier, without prefixes.
        own: The encoder's, under mmseg's names. Its feature norms and TAP may be missing in the weights; what follows
            from its sizes (indices of positions) is taken from here.

    Raises:
        InputError: Another form or size, or a table of position biases that is that of no window: with the keys and
            what was expected.
    """
    found = fitted_tables(as_named_in(to_mmseg_keys(weights), own), own)
    found |= {key: value for key, value in own.items() if key.endswith(INDEX)}
    check_complete(found, own)
    return {key: value for key, value in found.items() if key in own}


def check_complete(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Compares weights under mmseg's names with an encoder's; its feature norms and TAP may be missing.

    Raises:
        InputError: Keys are missing, unknown or of another shape; they are named.
    """
    faults = {
        'missing': [
            f'{k} {tuple(own[k].shape)}' for k in own if k not in found and not re.fullmatch(_MAY_LACK, k)
        ],
        'unknown': [k for k in found if k not in own and not re.fullmatch(_NOT_NEEDED, k)],
        'of another shape': [
            f'{k} {tuple(v.shape)} for {tuple(own[k].shape)}'
            for k, v in found.items()
            if k in own and v.shape != own[k].shape
        ],
    }
    told = '; '.join(f'{len(keys)} {what}: {first_few(keys)}' for what, keys in faults.items() if keys)
    if told:
        raise InputError(f'weights of another model: {told}')


def window_of(table: Tensor) -> int:
    """w of a table of position biases ((2w - 1)^2, heads); 0 for one that is that of no window."""
    side = round(table.shape[0] ** 0.5) if table.ndim == 2 else 0
    return (side + 1) // 2 if side * side == table.shape[0] and side % 2 else 0


def fitted_tables(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with each table of position biases resampled (bicubic, as mmseg and timm do) to the own windows.

    Raises:
        InputError: A table that is that of no window.
    """
    fitted = dict(weights)
    for key, table in weights.items():
        if not key.endswith(TABLE) or key not in own or table.shape == own[key].shape:
            continue
        if not window_of(table) or table.shape[1] != own[key].shape[1]:
            raise InputError(
                f"'{key}' is {tuple(table.shape)}; expected {tuple(own[key].shape)}, or for another window of w x w tokens "
                f'((2w - 1)^2, {own[key].shape[1]})'
            )
        window = window_of(own[key])
        with torch.no_grad():
            resized = resize_rel_pos_bias_table_simple(table.float(), (window, window), tuple(own[key].shape))
        fitted[key] = resized.to(table.dtype)
    return fitted


def windows_of(weights: Mapping[str, Tensor]) -> set[int]:
    """The window sizes that tables of position biases are for, in any of the three forms."""
    return {window_of(table) for key, table in weights.items() if key.endswith(TABLE)}
