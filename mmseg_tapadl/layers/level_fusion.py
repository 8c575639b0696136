"""Fusing the levels of an encoder, each at its own resolution.

A head that projects every level, upsamples it to the first level's size, concatenates all and applies a
1x1 convolution is linear up to there, and bilinear upsampling commutes with a linear map of the channels
(its weights sum to 1, so with a bias too). So each level meets its own part of the 1x1 convolution,
composed with its projection, before it is upsampled and added: the same function at a small part of the
cost, and neither the projected nor the concatenated features exist.

Legend: B images, C_i channels and H_i x W_i pixels of level i, E channels of the fused features.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg_tapadl.layers.add_upsampled import add_upsampled


def fuse_levels(
    features: Sequence[Tensor],
    projections: Sequence[tuple[Tensor, Tensor | None]],
    fuse_weight: Tensor,
    *,
    align_corners: bool = False,
) -> Tensor:
    """Projects, upsamples, concatenates (last level first) and fuses features by a 1x1 convolution.

    Args:
        features: One (B, C_i, H_i, W_i) a level; the first sets the size of the result.
        projections: For each level the weight (E_i, C_i) and bias (E_i,) or ``None`` of its projection.
        fuse_weight: Weight (E, sum of E_i, 1, 1) or (E, sum of E_i) of the 1x1 convolution over the
            projected levels concatenated from the last to the first.
        align_corners: How levels are upsampled, as in ``interpolate``.

    Returns:
        The fused features (B, E, H_1, W_1).

    Raises:
        ValueError: The numbers of features and projections differ, or ``fuse_weight`` has not as many
            inputs as the projections have outputs.
    """
    if len(features) != len(projections) or not features:
        raise ValueError(
            f'features and projections must be as many, and at least one: {len(features)} and {len(projections)}'
        )
    widths = [weight.shape[0] for weight, _ in projections]
    if fuse_weight.shape[1] != sum(widths):
        raise ValueError(
            f'fuse_weight must take the {sum(widths)} channels of the projections {widths}, '
            f'got shape {tuple(fuse_weight.shape)}'
        )
    parts = fuse_weight.flatten(1).split(widths[::-1], dim=1)[::-1]
    size = features[0].shape[-2:]
    # A list, because the sizes of a graph for pictures of any size are symbols, which no dict takes as keys.
    by_size: list[tuple[torch.Size, Tensor]] = []
    for feature, (weight, bias), part in zip(features, projections, parts, strict=True):
        composed = part @ weight
        # A matrix product rather than a convolution: its result lies in memory channel by channel whatever
        # the feature's memory format, as all that takes a few channels at a time wants it.
        own = torch.bmm(composed.expand(feature.shape[0], -1, -1), SameLayout.apply(feature).flatten(2))
        if bias is not None:
            own = own.add_((part @ bias)[:, None])
        # Levels of one size are added before they are upsampled.
        same = next((total for other, total in by_size if other == feature.shape[2:]), None)
        if same is None:
            by_size.append((feature.shape[2:], own))
        else:
            same.add_(own)
    # The first level, of the result's size, came first.
    (_, fused), *others = by_size
    for own_size, own in others:
        fused = add_upsampled(fused, own.unflatten(2, own_size), size, align_corners=align_corners)
    return fused.unflatten(2, size)


class SameLayout(torch.autograd.Function):
    """A feature as it is; its gradient comes back in the memory format of the feature.

    The product's would be contiguous. Down the encoder's residual path every sum would then be of two memory
    formats, each several times as slow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.is_channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.contiguous(memory_format=torch.channels_last) if ctx.is_channels_last else grad
