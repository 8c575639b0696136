"""The token block of RVT: attention whose scores may be scaled by position, then a feed-forward network.

Source: Mao et al., Towards Robust Vision Transformer, CVPR 2022 (arXiv 2105.07926). Parameters are named as in the
released weights, and initialised as there: PyTorch's defaults, PAAS by a truncated normal.

Legend: B pictures, N = H x W tokens, C channels, h heads, d = C / h channels of a head, K hidden channels.
"""

from collections.abc import Callable

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from mmseg_tapadl.layers.activation_checkpoint import recompute_if_liked
from mmseg_tapadl.layers.attention_watch import WatchableAttention
from mmseg_tapadl.layers.position_scaling import position_gain
from mmseg_tapadl.layers.token_aware_pooling import pooled_tokens, pooling_or_none
from mmseg_tapadl.layers.token_grid import to_grid, to_tokens

MLP_RATIO = 4


class PositionScaledAttention(nn.Module):
    """Multi-head self-attention over all tokens, with or without PAAS, which a loss can watch.

    Args:
        dim: C.
        num_heads: h, a divisor of C.
        paas_side: Side of the grid on which PAAS is learned; ``None`` leaves PAAS out.

    Raises:
        ValueError: ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, *, num_heads: int, paas_side: int | None = None):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide dim={dim}')
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.core = WatchableAttention()
        self.proj = nn.Linear(dim, dim)
        self.att_mask: nn.Parameter | None = None
        if paas_side is not None:
            places = paas_side * paas_side
            self.att_mask = nn.Parameter(torch.empty(num_heads, places, places))
            nn.init.trunc_normal_(self.att_mask, std=0.02, a=-0.02, b=0.02)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, h, N, d)
        gain = None if self.att_mask is None else position_gain(self.att_mask, grid)
        return self.proj(self.core(q, k, v, gain=gain).transpose(1, 2).flatten(2))


class ConvFeedForward(nn.Module):
    """1x1 convolution to K, depthwise 3x3, 1x1 back to C, each with a norm; GELU behind the first two.

    Args:
        dim: C.
        hidden_dim: K.
        norm_layer: Makes the norms from a number of channels.
    """

    def __init__(self, dim: int, *, hidden_dim: int, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden_dim, kernel_size=1)
        self.bn1 = norm_layer(hidden_dim)
        self.dwconv = nn.Conv2d(hidden_dim, hidden_dim, kernel_size=3, padding=1, groups=hidden_dim)
        self.bn2 = norm_layer(hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(hidden_dim, dim, kernel_size=1)
        self.bn3 = norm_layer(dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        # Four more tensors of the hidden width would be kept. What is computed again ends with the input of fc2.
        x = recompute_if_liked(self, self.mix, self.fc1(to_grid(x, grid)))
        return to_tokens(self.bn3(x))

    def mix(self, hidden: Tensor) -> Tensor:
        """All behind ``fc1``, but for the last norm: (B, K, H, W) to (B, C, H, W)."""
        return self.fc2(self.act(self.bn2(self.dwconv(self.act(self.bn1(hidden))))))


class PlainFeedForward(Mlp):
    """timm's MLP (linear, GELU, linear), which needs no grid.

    Args:
        dim: C.
        hidden_dim: K.
    """

    def __init__(self, dim: int, *, hidden_dim: int):
        super().__init__(dim, hidden_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C)."""
        return super().forward(x)


class RVTBlock(nn.Module):
    """``x = x + MHSA(LN(TAP(x)))``; ``x = x + FFN(LN(x))``. TAP is not in the residual.

    Args:
        dim: C.
        num_heads: h.
        conv_feed_forward: Whether the feed-forward network is the convolutional one.
        paas_side: Side of the grid on which PAAS is learned; ``None`` leaves PAAS out.
        num_branches: Branches of TAP; ``None`` leaves TAP out.
        drop_path: Probability that a residual branch is dropped for a picture.
        norm_layer: Makes the batch norms of TAP's predictor and of the convolutional network.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        conv_feed_forward: bool = True,
        paas_side: int | None = None,
        num_branches: int | None = None,
        drop_path: float = 0.0,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        self.dilation_predictor = pooling_or_none(dim, num_branches, norm_layer)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = PositionScaledAttention(dim, num_heads=num_heads, paas_side=paas_side)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        hidden_dim = MLP_RATIO * dim
        self.mlp: nn.Module = (
            ConvFeedForward(dim, hidden_dim=hidden_dim, norm_layer=norm_layer)
            if conv_feed_forward
            else PlainFeedForward(dim, hidden_dim=hidden_dim)
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        pooled = pooled_tokens(self.dilation_predictor, x, grid)
        x = x + self.drop_path(self.attn(self.norm1(pooled), grid))
        return x + self.drop_path(self.mlp(self.norm2(x), grid))


class RVTStem(nn.Module):
    """From a picture to tokens on their grid, at stride 16 and without any activation.

    Args:
        dim: C.
        norm_layer: Makes the batch norm.
    """

    WIDTH = 32

    def __init__(self, dim: int, *, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, self.WIDTH, kernel_size=7, stride=2, padding=2),
            norm_layer(self.WIDTH),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            nn.Conv2d(self.WIDTH, dim, kernel_size=4, stride=4),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps pictures (B, 3, H, W), H and W divisible by 16, to (B, C, H/16, W/16)."""
        return self.proj(x)
