"""The block of Swin: mmseg's parameters and function, with TAP and attention that a loss can watch.

Legend: B pictures, C channels, h heads, d = C / h channels of a head, H x W tokens, w side of a window, M = w * w tokens
of a window, n windows of a picture.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mmcv.cnn.bricks.transformer import FFN
from mmseg.models.backbones.swin import SwinBlock, WindowMSA
from torch import Tensor, nn

from mmseg_tapadl.layers import WatchableAttention
from mmseg_tapadl.layers.activation_checkpoint import recompute_if_liked
from mmseg_tapadl.layers.token_aware_pooling import pooled_tokens, pooling_or_none


class WatchableWindowAttention(WindowMSA):
    """mmseg's attention within windows, computed by :class:`WatchableAttention`.

    Each window of each picture is one batch entry of the attention. The relative position bias is learned through
    the scores as in mmseg; what separates the regions of a shifted window, 0 or -100, is added to it.

    Args:
        embed_dims: C.
        num_heads: h.
        window_size: w.
        qkv_bias: Biases in the projections to q, k and v.
        attn_drop_rate: Dropout of the attention.
        proj_drop_rate: Dropout after the output projection.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        qkv_bias: bool,
        attn_drop_rate: float,
        proj_drop_rate: float,
    ):
        super().__init__(
            embed_dims,
            num_heads,
            (window_size, window_size),
            qkv_bias=qkv_bias,
            attn_drop_rate=attn_drop_rate,
            proj_drop_rate=proj_drop_rate,
        )
        self.core = WatchableAttention(scale=self.scale, attn_drop_rate=attn_drop_rate)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Maps windows (B n, M, C), picture by picture, to (B n, M, C); ``mask`` (n, M, M) is added to the scores."""
        joint = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = joint.unbind(0)  # (B n, h, M, d)
        bias = self.position_bias()
        if mask is not None:
            pictures = x.shape[0] // mask.shape[0]
            bias = (bias + mask[:, None]).expand(pictures, -1, -1, -1, -1).flatten(0, 1)
        out = self.core(q, k, v, bias=bias)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))

    def position_bias(self) -> Tensor:
        """The relative position bias (1, h, M, M), from its table."""
        tokens = self.window_size[0] * self.window_size[1]
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.T.reshape(1, self.num_heads, tokens, tokens)


class LeanFFN(FFN):
    """mmcv's feed-forward network of two layers, keeping one of its two widened tensors for the backward pass.

    The other, after the activation, is cheap to rebuild beside the two matrix products. The arguments are mmcv's.
    """

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C); ``identity`` is the residual, ``x`` if None."""
        widen, _, drop_out = self.layers
        out = drop_out(recompute_if_liked(self, self.narrowed, widen[0](x)))
        return (x if identity is None else identity) + self.dropout_layer(out)

    def narrowed(self, hidden: Tensor) -> Tensor:
        """Activation, its dropout and the second layer: widened tokens (B, N, hidden channels) to (B, N, C)."""
        widen, narrow, _ = self.layers
        return narrow(widen[1:](hidden))


class TAPSwinBlock(SwinBlock):
    """``x = x + MSA(LN(TAP(x)))``; ``x = x + FFN(LN(x))``.

    TAP pools the whole grid, before the shift and before the windows are cut, and is not in the residual.

    Args:
        embed_dims: C.
        num_heads: h.
        feedforward_channels: Widened channels of the FFN.
        window_size: w.
        shift: Whether the windows are shifted by half a window.
        num_branches: Branches of TAP; ``None`` leaves TAP out.
        tap_norm_layer: Makes the batch norm of TAP's predictor.
        qkv_bias: Biases in the projections to q, k and v.
        drop_rate: Dropout after the attention and in the FFN.
        attn_drop_rate: Dropout of the attention.
        drop_path_rate: Probability that a residual branch is dropped for a picture.
        act_cfg: Activation of the FFN.
        norm_cfg: Layer norms.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        window_size: int,
        shift: bool,
        num_branches: int | None,
        tap_norm_layer: Callable[[int], nn.Module],
        qkv_bias: bool,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        act_cfg: Mapping[str, Any],
        norm_cfg: Mapping[str, Any],
    ):
        super().__init__(
            embed_dims,
            num_heads,
            feedforward_channels,
            window_size=window_size,
            shift=shift,
            qkv_bias=qkv_bias,
            drop_rate=drop_rate,
            drop_path_rate=drop_path_rate,
            act_cfg=act_cfg,
            norm_cfg=norm_cfg,
        )
        self.attn.w_msa = WatchableWindowAttention(
            embed_dims=embed_dims,
            num_heads=num_heads,
            window_size=window_size,
            qkv_bias=qkv_bias,
            attn_drop_rate=attn_drop_rate,
            proj_drop_rate=drop_rate,
        )
        self.ffn = LeanFFN(
            embed_dims=embed_dims,
            feedforward_channels=feedforward_channels,
            ffn_drop=drop_rate,
            dropout_layer=dict(type='DropPath', drop_prob=drop_path_rate),
            act_cfg=act_cfg,
        )
        self.dilation_predictor = pooling_or_none(embed_dims, num_branches, tap_norm_layer)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Maps tokens (B, H * W, C), which lie on the grid ``hw_shape`` (H, W), to (B, H * W, C)."""
        pooled = pooled_tokens(self.dilation_predictor, x, hw_shape)
        x = x + self.attn(self.norm1(pooled), hw_shape)
        return self.ffn(self.norm2(x), identity=x)
