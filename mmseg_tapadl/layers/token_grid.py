"""Tokens as a sequence and as a picture, without copies.

Legend: B images, N = H x W tokens, C channels.
"""

from torch import Tensor


def to_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens (B, N, C) as a channels-last picture (B, C, H, W), without a copy.

    Built this way round the strides say channels-last also for one image; a depthwise convolution on the CPU is
    then two to ten times as fast as behind ``x.transpose(1, 2).unflatten(2, grid)``.
    """
    return x.unflatten(1, grid).permute(0, 3, 1, 2)


def to_tokens(x: Tensor) -> Tensor:
    """A picture (B, C, H, W) as tokens (B, N, C); no copy if it is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)
