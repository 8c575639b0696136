"""The transformer block of MiT: mmseg's parameters and function, with TAP and attention that can be watched.

Legend: B images, C channels, h heads, d = C / h channels of a head, N = H x W tokens, M reduced tokens.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.models.backbones.mit import EfficientMultiheadAttention, MixFFN
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.layers import WatchableAttention, to_grid, to_tokens
from mmseg_tapadl.layers.activation_checkpoint import recompute_if_liked
from mmseg_tapadl.layers.token_aware_pooling import pooled_tokens, pooling_or_none


class WatchableEfficientAttention(EfficientMultiheadAttention):
    """mmseg's attention with spatially reduced keys, computed by :class:`WatchableAttention`.

    mmseg asks ``nn.MultiheadAttention`` for averaged weights and throws them away, which rules fused attention
    out. Here its parameters are used and its forward pass is not.

    Args:
        embed_dims: C.
        num_heads: h.
        attn_drop: Dropout of the attention.
        proj_drop: Dropout after the output projection.
        dropout_layer: Config of the drop path of the residual branch.
        qkv_bias: Biases in all four projections.
        norm_cfg: Layer norm of the reduced tokens.
        sr_ratio: How much keys and values are reduced along each side.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        attn_drop: float,
        proj_drop: float,
        dropout_layer: Mapping[str, Any],
        qkv_bias: bool,
        norm_cfg: Mapping[str, Any],
        sr_ratio: int,
    ):
        super().__init__(
            embed_dims,
            num_heads,
            proj_drop=proj_drop,
            dropout_layer=dropout_layer,
            qkv_bias=qkv_bias,
            norm_cfg=norm_cfg,
            sr_ratio=sr_ratio,
        )
        self.core = WatchableAttention(attn_drop_rate=attn_drop)

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor | None = None) -> Tensor:
        """Maps tokens (B, N, C) on the grid ``hw_shape`` to (B, N, C); ``identity`` is the residual, ``x`` if None."""
        weight, bias = self.attn.in_proj_weight, self.attn.in_proj_bias
        split = self.embed_dims
        heads = (self.num_heads, -1)
        q = F.linear(x, weight[:split], None if bias is None else bias[:split])
        kv = F.linear(self.reduced(x, hw_shape), weight[split:], None if bias is None else bias[split:])
        q = q.unflatten(2, heads).transpose(1, 2)  # (B, h, N, d)
        k, v = kv.unflatten(2, (2, *heads)).permute(2, 0, 3, 1, 4)  # (B, h, M, d)
        out = self.attn.out_proj(self.core(q, k, v).transpose(1, 2).flatten(2))
        return (x if identity is None else identity) + self.dropout_layer(self.proj_drop(out))

    def reduced(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """The tokens (B, M, C) that are read: one for each ``sr_ratio`` x ``sr_ratio`` cell of the grid."""
        if self.sr_ratio == 1:
            return x
        # As in mmseg a cut-off cell at the edge is left out; a grid smaller than one cell is filled up to it.
        height, width = hw_shape
        grid = to_grid(x, hw_shape)
        if min(hw_shape) < self.sr_ratio:
            grid = F.pad(grid, (0, max(self.sr_ratio - width, 0), 0, max(self.sr_ratio - height, 0)))
        return self.norm(to_tokens(self.sr(grid)))


class LeanMixFFN(MixFFN):
    """mmseg's MixFFN on channels-last tensors, keeping one of its three widened tensors for the backward pass.

    The other two, after a depthwise convolution and after GELU, are cheap to rebuild beside the two matrix
    products. The arguments are mmseg's.
    """

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor | None = None) -> Tensor:
        """Maps tokens (B, N, C) on the grid ``hw_shape`` to (B, N, C); ``identity`` is the residual, ``x`` if None."""
        widen = self.layers[0]
        hidden = F.linear(x, widen.weight.flatten(1), widen.bias)  # a 1x1 convolution
        out = recompute_if_liked(self, self.narrowed, hidden, hw_shape)
        return (x if identity is None else identity) + self.dropout_layer(out)

    def narrowed(self, hidden: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """All but the first layer: widened tokens (B, N, hidden channels) to (B, N, C)."""
        _, depthwise, activate, drop, narrow, drop_out = self.layers
        mixed = drop(activate(to_tokens(depthwise(to_grid(hidden, hw_shape)))))
        return drop_out(F.linear(mixed, narrow.weight.flatten(1), narrow.bias))


class MiTBlock(BaseModule):
    """``x = x + MHSA(LN(TAP(x)))``; ``x = x + MixFFN(LN(x))``. TAP is not in the residual.

    Args:
        embed_dims: C.
        num_heads: h.
        feedforward_channels: Widened channels of the MixFFN.
        num_branches: Branches of TAP; ``None`` leaves TAP out.
        tap_norm_layer: Makes the batch norm of TAP's predictor.
        drop_rate: Dropout after the attention and in the MixFFN.
        attn_drop_rate: Dropout of the attention.
        drop_path_rate: Probability that a residual branch is dropped for an image.
        qkv_bias: Biases in the attention.
        act_cfg: Activation of the MixFFN.
        norm_cfg: Layer norms.
        sr_ratio: How much keys and values are reduced along each side.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        num_branches: int | None,
        tap_norm_layer: Callable[[int], nn.Module],
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        qkv_bias: bool,
        act_cfg: Mapping[str, Any],
        norm_cfg: Mapping[str, Any],
        sr_ratio: int,
    ):
        super().__init__()
        drop_path = dict(type='DropPath', drop_prob=drop_path_rate)
        self.dilation_predictor = pooling_or_none(embed_dims, num_branches, tap_norm_layer)
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = WatchableEfficientAttention(
            embed_dims=embed_dims,
            num_heads=num_heads,
            attn_drop=attn_drop_rate,
            proj_drop=drop_rate,
            dropout_layer=drop_path,
            qkv_bias=qkv_bias,
            norm_cfg=norm_cfg,
            sr_ratio=sr_ratio,
        )
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = LeanMixFFN(
            embed_dims=embed_dims,
            feedforward_channels=feedforward_channels,
            ffn_drop=drop_rate,
            dropout_layer=drop_path,
            act_cfg=act_cfg,
        )

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on the grid ``hw_shape`` (H, W), to (B, N, C)."""
        pooled = pooled_tokens(self.dilation_predictor, x, hw_shape)
        x = self.attn(self.norm1(pooled), hw_shape, identity=x)
        return self.ffn(self.norm2(x), hw_shape, identity=x)
