"""The same modules in their textbook form, with the same parameters, and models assembled from them.

They are registered beside the product's, so that a config chooses them by ``type``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_tapadl.layers import TokenAwareAvgPool, WatchableAttention
from mmseg_tapadl.layers.textbook import (
    textbook_diversified_attention,
    textbook_fuse_levels,
    textbook_token_aware_avg_pool,
)
from mmseg_tapadl.models.backbones import FAN
from mmseg_tapadl.models.heads import FANHead


class TextbookAttention(WatchableAttention):
    """Attention with its N x M matrix in memory, in training and in evaluation, watched or not."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Maps q (B, H, N, D), k and v (B, H, M, D) to the attended values (B, H, N, D)."""
        if self.threshold is None or not self.training:
            scale = q.shape[-1] ** -0.5 if self.scale is None else self.scale
            return torch.softmax(scale * q @ k.transpose(-2, -1), dim=-1) @ v
        out, diversity = textbook_diversified_attention(q, k, v, scale=self.scale, threshold=self.threshold)
        if self.sink is not None:
            self.sink.append(diversity)
        return out


class TextbookTokenAwareAvgPool(TokenAwareAvgPool):
    """TAP by unfolding."""

    def forward(self, x: Tensor) -> Tensor:
        """Pools tokens (B, C, H, W) into tokens of the same shape."""
        return textbook_token_aware_avg_pool(x, torch.softmax(self.proj(x), dim=1))


@MODELS.register_module()
class TextbookFAN(FAN):
    """FAN whose attention and pooling are the textbook's."""

    def __init__(self, arch: str = 'base_hybrid', tap: dict | None = None, **kwargs: Any):
        super().__init__(arch, tap, **kwargs)
        for block in self.blocks:
            block.attn.core = TextbookAttention(scale=block.attn.core.scale)
            if block.dilation_predictor is not None:
                ours = block.dilation_predictor
                block.dilation_predictor = TextbookTokenAwareAvgPool(
                    ours.proj[0].in_channels, ours.num_branches, norm_layer=type(ours.proj[1])
                )


@MODELS.register_module()
class TextbookFANHead(FANHead):
    """The decode head as it is drawn: everything at the first feature's size, concatenated."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps the encoder's features to logits (B, num_classes, H, W) at the size of the first."""
        projections = [self.linear_c1.proj, self.linear_c2.proj, self.linear_c3.proj, self.linear_c4.proj]
        fused = textbook_fuse_levels(
            self._transform_inputs(inputs),
            [(p.weight, p.bias) for p in projections],
            self.linear_fuse.conv.weight,
        )
        return self.cls_seg(self.linear_fuse.activate(self.linear_fuse.norm(fused)))
