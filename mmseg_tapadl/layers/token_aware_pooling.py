"""Token-aware average pooling (TAP): each token becomes its own learned mixture of local averages.

Legend: B images, C channels, H x W tokens, K branches. Branch 0 is the token itself; branch k is the 3x3
mean with dilation k, where what lies outside the picture counts as zeros (always divided by 9).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmseg_tapadl.layers.budget import budget_for, even_ranges
from mmseg_tapadl.layers.token_grid import to_grid, to_tokens
from mmseg_tapadl.utils.errors import InputError


def token_aware_avg_pool(x: Tensor, weights: Tensor) -> Tensor:
    """The mixture of each token's local averages, ``sum_k weights_k * A_k(x)``.

    Args:
        x: Tokens on their grid (B, C, H, W), floating point, of any memory format and any H and W.
        weights: Weights of the branches (B, K, H, W), the same for all channels; as a rule they are
            not negative and sum to 1 over K.

    Returns:
        The pooled tokens (B, C, H, W), in the dtype of x.

    Raises:
        ValueError: x or weights are not floating point, or their shapes or devices do not agree.
    """
    for name, tensor in (('x', x), ('weights', weights)):
        if not tensor.is_floating_point():
            raise ValueError(f'{name} must be floating point, got {tensor.dtype}')
        if tensor.dim() != 4:
            raise ValueError(f'{name} must have four axes, got shape {tuple(tensor.shape)}')
        if 0 in tensor.shape:
            raise ValueError(f'{name} must have no empty axis, got shape {tuple(tensor.shape)}')
    if weights.shape[0] != x.shape[0] or weights.shape[2:] != x.shape[2:]:
        raise ValueError(
            f'weights must agree with x in images, height and width: '
            f'x is {tuple(x.shape)}, got {tuple(weights.shape)}'
        )
    if weights.device != x.device:
        raise ValueError(f'weights must be on the device of x, {x.device}, got {weights.device}')
    return MixtureOfAverages.apply(x, weights.to(x.dtype))


class MixtureOfAverages(torch.autograd.Function):
    """``(x, weights) -> sum_k weights_k * A_k(x)``, of which only x and weights are kept.

    A_k is its own adjoint, so the gradient to x is ``sum_k A_k(w_k * g)``, and that to w_k is the sum over
    the channels of ``g * A_k(x)``, with A_k(x) computed again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights)
        out = torch.empty_like(x)
        for c in channel_parts(x):
            part, part_out = x[:, c], out[:, c]
            torch.mul(part, weights[:, :1], out=part_out)
            for k, weight in other_branches(weights):
                part_out.addcmul_(dilated_mean(part, k), weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weights = ctx.saved_tensors
        grad_x = grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.empty_like(x)
            for c in channel_parts(x):
                part_grad, part_grad_x = grad[:, c], grad_x[:, c]
                torch.mul(part_grad, weights[:, :1], out=part_grad_x)
                for k, weight in other_branches(weights):
                    part_grad_x += dilated_mean(part_grad * weight, k)
        if ctx.needs_input_grad[1]:
            # Summed over the channels, so in float32 at least.
            grad_weights = torch.zeros_like(weights, dtype=torch.promote_types(weights.dtype, torch.float32))
            for c in channel_parts(x):
                part, part_grad = x[:, c], grad[:, c]
                grad_weights[:, :1] += (part * part_grad).sum(1, keepdim=True)
                for k, grad_weight in other_branches(grad_weights):
                    grad_weight += dilated_mean(part, k).mul_(part_grad).sum(1, keepdim=True)
            grad_weights = grad_weights.to(weights.dtype)
        return grad_x, grad_weights


def channel_parts(x: Tensor) -> Iterator[slice]:
    """Ranges of some channels: what is made on the way stays in the cache and out of memory."""
    if torch.compiler.is_compiling():  # a compiler takes no ``out=`` into a part, and fuses by itself
        return iter([slice(0, x.shape[1])])
    return even_ranges(x.shape[1], budget_for(x.device).pooling_channels)


def other_branches(weights: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each branch but the identity: its number, which is its dilation, and its part (B, 1, H, W)."""
    for k in range(1, weights.shape[1]):
        yield k, weights[:, k : k + 1]


def dilated_mean(x: Tensor, dilation: int) -> Tensor:
    """A_k: the 3x3 mean with a dilation, zeros outside, always divided by 9; in the memory format of x."""
    # Each channel's convolution with a constant: one pass over memory, where sums of shifted tensors,
    # though separable, take four or more.
    ninth = x.new_full((x.shape[1], 1, 3, 3), 1 / 9)
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, ninth, padding=dilation, dilation=dilation, groups=x.shape[1])


class TokenAwareAvgPool(nn.Module):
    """Predicts each token's weights and pools with them.

    The parameters are named as in the released weights: ``proj.0`` (3x3 convolution from the channels to
    the branches), ``proj.1`` (norm), ``proj.2`` (3x3 convolution between the branches).

    A fresh module is nearly the identity: every token's weight for itself is at least 0.99, by a gap
    between the logits of about 6 that still lets a gradient through. So a model pretrained without TAP
    starts as nearly the same function.

    Args:
        dim: Channels of the tokens.
        num_branches: K, the identity included. With 1 nothing is pooled; the predictor then exists for
            the sake of released weights only, and is frozen, as it could get no gradient.
        norm_layer: Makes the norm between the two convolutions from a number of channels. It must have
            an affine ``weight`` and ``bias``.

    Raises:
        InputError: ``num_branches`` below 1.
    """

    def __init__(self, dim: int, num_branches: int = 4, *, norm_layer: Any = nn.BatchNorm2d):
        super().__init__()
        if num_branches < 1:
            raise InputError(f'num_branches must be at least 1, got {num_branches}')
        self.num_branches = num_branches
        self.proj = nn.Sequential(
            nn.Conv2d(dim, num_branches, 3, padding=1, bias=False),
            norm_layer(num_branches),
            nn.Conv2d(num_branches, num_branches, 3, padding=1, bias=False),
        )
        if num_branches == 1:
            self.proj.requires_grad_(False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts as nearly the identity, whatever the tokens are and also in evaluation.

        Neither convolution has a bias, so the norm's bias makes a constant of channel 0, and the last
        convolution turns it into the gap. Only its centre tap does: the others see zeros at the border.
        """
        first, norm, last = self.proj
        first.reset_parameters()
        norm.reset_parameters()
        with torch.no_grad():
            # Not zero, so that the first convolution learns from the first step on.
            last.weight.normal_(std=1e-4)
            if self.num_branches > 1:
                norm.weight[0] = 0.0
                norm.bias[0] = 1.0
                last.weight[0, 0, 1, 1] = identity_logit(self.num_branches)

    def forward(self, x: Tensor) -> Tensor:
        """Pools tokens (B, C, H, W) into tokens of the same shape."""
        if self.num_branches == 1:
            return x
        return token_aware_avg_pool(x, torch.softmax(self.proj(x), dim=1))


def identity_logit(num_branches: int) -> float:
    """The gap between the logits that gives the identity a weight of 0.9926: 6.0 for 4 branches."""
    return math.log(99 * (num_branches - 1)) + 0.3


def pooling_or_none(
    dim: int, num_branches: int | None, norm_layer: Callable[[int], nn.Module]
) -> TokenAwareAvgPool | None:
    """The pooling before a block's attention; ``None`` where ``num_branches`` is."""
    return None if num_branches is None else TokenAwareAvgPool(dim, num_branches, norm_layer=norm_layer)


def pooled_tokens(pooling: nn.Module | None, x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens (B, N, C), which lie on ``grid`` (H, W), as a block's attention reads them; without a pooling as they are."""
    return x if pooling is None else to_tokens(pooling(to_grid(x, grid)))
