"""The token block of FAN and its closing blocks.

Legend: B images, N = H x W tokens, C channels, h heads, d = C / h channels of a head.
"""

from collections.abc import Callable

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from mmseg_tapadl.layers.attention_watch import WatchableAttention
from mmseg_tapadl.layers.channel_processing import ChannelProcessing
from mmseg_tapadl.layers.token_aware_pooling import pooled_tokens, pooling_or_none
from mmseg_tapadl.utils.errors import InputError


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, which a loss can watch.

    Args:
        dim: C.
        num_heads: h, a divisor of C.
        attn_drop_rate: Dropout of the attention.
    """

    def __init__(self, dim: int, *, num_heads: int, attn_drop_rate: float = 0.0):
        super().__init__()
        if dim % num_heads:
            raise InputError(f'num_heads={num_heads} does not divide dim={dim}')
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.core = WatchableAttention(attn_drop_rate=attn_drop_rate)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C)."""
        heads = (self.num_heads, -1)
        q = self.q(x).unflatten(2, heads).transpose(1, 2)  # (B, h, N, d)
        k, v = self.kv(x).unflatten(2, (2, *heads)).permute(2, 0, 3, 1, 4)
        return self.proj(self.core(q, k, v).transpose(1, 2).flatten(2))


class FANBlock(nn.Module):
    """Token attention, then channel processing, each behind a norm and scaled per channel.

    ``x = x + gamma1 * MHSA(LN(TAP(x)))``; ``x = x + gamma2 * CP(LN(x))``. TAP is not in the residual.

    Args:
        dim: C.
        num_heads: h.
        num_branches: Branches of TAP; ``None`` leaves TAP out.
        attn_drop_rate: Dropout of the attention.
        drop_path: Probability that a residual branch is dropped for an image.
        norm_layer: Makes the batch norms of TAP's predictor and of channel processing.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        num_branches: int | None = None,
        attn_drop_rate: float = 0.0,
        drop_path: float = 0.0,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        self.dilation_predictor = pooling_or_none(dim, num_branches, norm_layer)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SelfAttention(dim, num_heads=num_heads, attn_drop_rate=attn_drop_rate)
        self.gamma1 = nn.Parameter(torch.ones(dim))
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = ChannelProcessing(dim, num_heads=num_heads, norm_layer=norm_layer)
        self.gamma2 = nn.Parameter(torch.ones(dim))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        pooled = pooled_tokens(self.dilation_predictor, x, grid)
        x = x + self.drop_path(self.gamma1 * self.attn(self.norm1(pooled)))
        return x + self.drop_path(self.gamma2 * self.mlp(self.norm2(x), grid))


class ClosingBlock(nn.Module):
    """What a class-attention block of the release does to a patch token.

    The class token reads the patches, but no patch reads the class token, so of the released block only two
    norms and one scale reach a feature: ``x = x + gamma1 * LN1(x)``; ``x = LN2(x)``; it leaves as ``x + x``.

    Args:
        dim: C.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.gamma1 = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C)."""
        return 2 * self.norm2(torch.addcmul(x, self.gamma1, self.norm1(x)))
