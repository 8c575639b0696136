"""The end of a decode head, ``classifier(dropout(relu(norm(x))))``, without keeping what it makes.

At quarter resolution and 768 channels each of norm, ReLU and dropout would keep a tensor as large as x
(200 MB for a 1024 x 1024 picture) for the backward pass. A batch norm treats each channel by itself and the
classifier sums over channels, so a few channels at a time go through all of it, while they are in the cache,
and again in the backward pass: only x is kept.

Legend: B images, C channels, H x W pixels, K classes.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_tapadl.layers.budget import budget_for, even_ranges


def can_classify_normed(norm: nn.Module, activation: nn.Module) -> bool:
    """Whether :func:`normed_classifier` is what these modules do: a batch norm of this process alone, and ReLU."""
    is_shared = (
        isinstance(norm, nn.SyncBatchNorm)
        and norm.training
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
    return isinstance(norm, _BatchNorm) and not is_shared and isinstance(activation, nn.ReLU)


def normed_classifier(
    x: Tensor, norm: _BatchNorm, channel_mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """``conv1x1(relu(norm(x)) * channel_mask)``; updates the norm's running statistics as the norm would.

    Args:
        x: Features (B, C, H, W).
        norm: Batch norm over C for which :func:`can_classify_normed` holds.
        channel_mask: Factor of each image's channels (B, C, 1, 1), as Dropout2d makes it; ``None`` is 1.
        weight: Of the classifier (K, C, 1, 1).
        bias: Of the classifier (K,) or ``None``.

    Returns:
        Logits (B, K, H, W), in float32 at least.

    Raises:
        ValueError: As the norm itself: the batch's statistics are asked of one value a channel.
    """
    uses_batch = norm.training or norm.running_mean is None
    if uses_batch and x.numel() == x.shape[1]:
        raise ValueError(
            f'Expected more than 1 value per channel when training, got input size {tuple(x.shape)}'
        )
    momentum = 0.0
    if norm.training and norm.running_mean is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    running = (norm.running_mean, norm.running_var)
    if not budget_for(x.device).recompute:
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            h = F.batch_norm(x, *running, norm.weight, norm.bias, uses_batch, momentum, norm.eps).relu_()
            h = h if channel_mask is None else h * channel_mask
            return F.conv2d(h, weight.to(h.dtype), None if bias is None else bias.to(h.dtype))
    return NormedClassifier.apply(
        x, norm.weight, norm.bias, channel_mask, weight, bias, running, uses_batch, momentum, norm.eps
    )


class NormedClassifier(torch.autograd.Function):
    """See :func:`normed_classifier`; ``running`` holds the running mean and variance, or two ``None``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        mask: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        running: tuple[Tensor | None, Tensor | None],
        uses_batch: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        num_images, _, height, width = x.shape
        logits = x.new_zeros(num_images, len(weight), height * width, dtype=dtype)
        with torch.autocast(x.device.type, enabled=False):
            for c in channel_parts(x):
                h = torch.native_batch_norm(
                    x[:, c].to(dtype).contiguous(),
                    *(pick(t, c) for t in (gamma, beta, *running)),
                    uses_batch,
                    momentum,
                    eps,
                )[0].relu_()
                if mask is not None:
                    h *= mask[:, c]
                logits.baddbmm_(weight[:, c].flatten(1).to(dtype).expand(num_images, -1, -1), h.flatten(2))
            if bias is not None:
                logits += bias[:, None]
        # The batch's own statistics are computed again; running ones are what evaluation used.
        running = (None, None) if uses_batch else running
        ctx.save_for_backward(x, gamma, beta, mask, weight, *running)
        ctx.uses_batch, ctx.eps, ctx.has_bias = uses_batch, eps, bias is not None
        return logits.unflatten(2, (height, width))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta, mask, weight, *running = ctx.saved_tensors
        dtype = grad.dtype
        needs_x, needs_gamma, needs_beta, _, needs_weight, needs_bias = ctx.needs_input_grad[:6]
        grad_x = torch.empty_like(x) if needs_x else None
        grad_gamma = torch.zeros_like(gamma) if needs_gamma else None
        grad_beta = torch.zeros_like(beta) if needs_beta else None
        grad_weight = torch.empty_like(weight) if needs_weight else None
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        flat_grad = grad.flatten(2)
        with torch.autocast(x.device.type, enabled=False):
            for c in channel_parts(x):
                part = x[:, c].to(dtype).contiguous()
                norm = [pick(t, c) for t in (gamma, beta, *running)]
                h, mean, inverse_std = torch.native_batch_norm(part, *norm, ctx.uses_batch, 0.0, ctx.eps)
                is_on = h > 0
                if grad_weight is not None:
                    h.relu_()
                    if mask is not None:
                        h *= mask[:, c]
                    products = torch.bmm(flat_grad, h.flatten(2).transpose(1, 2))
                    grad_weight[:, c] = products.sum(0)[:, :, None, None]
                matrix = weight[:, c].flatten(1).to(dtype)
                grad_h = torch.bmm(matrix.t().expand(len(x), -1, -1), flat_grad).view_as(part)
                if mask is not None:
                    grad_h *= mask[:, c]
                grad_h *= is_on
                x_c, gamma_c, beta_c = torch.ops.aten.native_batch_norm_backward(
                    grad_h,
                    part,
                    norm[0],
                    *norm[2:],
                    mean,
                    inverse_std,
                    ctx.uses_batch,
                    ctx.eps,
                    [needs_x, needs_gamma, needs_beta],
                )
                if grad_x is not None:
                    grad_x[:, c] = x_c
                if grad_gamma is not None:
                    grad_gamma[c] = gamma_c
                if grad_beta is not None:
                    grad_beta[c] = beta_c
        return grad_x, grad_gamma, grad_beta, None, grad_weight, grad_bias, None, None, None, None


def channel_parts(x: Tensor) -> Iterator[slice]:
    """Ranges of a few channels."""
    return even_ranges(x.shape[1], budget_for(x.device).classifier_channels)


def pick(per_channel: Tensor | None, channels: slice) -> Tensor | None:
    """The entries of some channels, or ``None`` of ``None``."""
    return None if per_channel is None else per_channel[channels]
