"""Adding a small picture to a large one, upsampled, without an upsampled copy of it.

Bilinear upsampling is a matrix from the left (rows) and one from the right (columns). ``interpolate`` is a good way
to apply them, but on a CPU its backward pass takes one value at a time; two products are several times as fast.

Legend: B images, E channels, h x w pixels of the small picture, H x W of the large one.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmseg_tapadl.layers.budget import budget_for, even_ranges


def add_upsampled(
    total: Tensor, small: Tensor, size: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """``total += interpolate(small, size)``, bilinear, in place.

    Args:
        total: The large picture, flat: (B, E, H * W). Flat, because adding in place to a view would make
            autograd copy its gradient.
        small: The small picture (B, E, h, w).
        size: (H, W).
        align_corners: As in ``interpolate``.

    Returns:
        ``total``.
    """
    return AddUpsampled.apply(total, small, size, align_corners)


class AddUpsampled(torch.autograd.Function):
    """See :func:`add_upsampled`; nothing is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, small: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
        ctx.mark_dirty(total)
        ctx.size, ctx.small_shape, ctx.align_corners = size, small.shape, align_corners
        for c in channel_parts(total):
            part = F.interpolate(small[:, c], size, mode='bilinear', align_corners=align_corners)
            total[:, c] += part.flatten(2)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        if not ctx.needs_input_grad[1]:
            return grad, None, None, None
        rows, columns = (
            interpolation_matrix(length, new_length, ctx.align_corners, grad)
            for length, new_length in zip(ctx.small_shape[2:], ctx.size, strict=True)
        )
        small = grad.new_empty(ctx.small_shape)
        with torch.autocast(grad.device.type, enabled=False):
            for c in channel_parts(grad):
                part = grad[:, c].unflatten(2, ctx.size).to(rows.dtype)
                small[:, c] = rows.mT @ part @ columns
        return grad, small, None, None


def channel_parts(x: Tensor) -> Iterator[slice]:
    """Ranges of a few channels, which stay in the cache."""
    return even_ranges(x.shape[1], budget_for(x.device).upsampling_channels)


def interpolation_matrix(length: int, new_length: int, align_corners: bool, like: Tensor) -> Tensor:
    """The matrix (new_length, length) of linear upsampling, on the device of ``like``, in float32 at least."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(length, dtype=dtype, device=like.device)
    return F.interpolate(identity[None], size=new_length, mode='linear', align_corners=align_corners)[0].mT
